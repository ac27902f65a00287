/* The connections that a door has. */
#include "door/internal.h"

#include <time.h>

bool
sf_door_is_full(struct sf_door *door) {
  bool full;

  pthread_mutex_lock(&door->lock);
  full = door->connections == SF_DOOR_CONNECTIONS_MAX;
  pthread_mutex_unlock(&door->lock);
  return full;
}

void
sf_door_enter(struct sf_door *door, struct door_connection *connection) {
  unsigned i = 0;

  pthread_mutex_lock(&door->lock);
  while (door->connection[i] != NULL)
    i++;
  SF_ASSERT(i < SF_DOOR_CONNECTIONS_MAX);
  door->connection[i] = connection;
  door->connections++;
  pthread_mutex_unlock(&door->lock);
}

void
sf_door_leave(struct sf_door *door, struct door_connection *connection) {
  pthread_mutex_lock(&door->lock);
  for (unsigned i = 0; i < SF_DOOR_CONNECTIONS_MAX; i++)
    if (door->connection[i] == connection)
      door->connection[i] = NULL;
  sf_door_connection_destroy(connection);
  door->connections--;
  pthread_cond_broadcast(&door->changed);
  pthread_mutex_unlock(&door->lock);
}

bool
sf_door_wait_for_all(struct sf_door *door, unsigned seconds) {
  struct timespec until;
  bool ended;

  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += (time_t) seconds;
  pthread_mutex_lock(&door->lock);
  for (unsigned i = 0; i < SF_DOOR_CONNECTIONS_MAX; i++)
    if (door->connection[i] != NULL && door->connection[i]->queue != NULL)
      sf_tio_wake(door->connection[i]->queue);
  while (door->connections > 0 && pthread_cond_timedwait(&door->changed, &door->lock, &until) == 0)
    ;
  ended = door->connections == 0;
  pthread_mutex_unlock(&door->lock);
  return ended;
}

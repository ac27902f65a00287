/* Connections of a volume that is played. */
#ifndef TEST_ORDER_RIG_H
#define TEST_ORDER_RIG_H

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "serve/internal.h"
#include "timed_io/internal.h"

enum { BLOCK = 4096, BLOCKS = 5120 /* zeroing all takes two batches */ };

extern struct sf_serve *serve;

struct the_volume {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  unsigned char disk[BLOCKS][BLOCK];
  int stuck_block; /* -1: none */
  struct sf_request *stuck;
  struct sf_tio_buffer *repairing; /* what the last read gave, if it is still being written */
  bool repairs;
  unsigned submitted;
};

extern struct the_volume volume;
void __wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns);
void __wrap_sf_volume_give_up(struct sf_volume *v, struct sf_request *request, uint64_t now_ns);
void __wrap_sf_volume_wait_told(struct sf_volume *v);
int __wrap_sf_tio_attend(struct sf_tio_client *client, struct sf_tio_queue **queue);
int __wrap_sf_tio_drive(struct sf_tio_queue *queue, uint64_t until_ns, bool (*stop)(void *),
                        void *arg);
void __wrap_sf_tio_wake(struct sf_tio_queue *queue);
void __real_sf_tio_wake(struct sf_tio_queue *queue);

void stick(int block);
void wait_until_stuck(void);
void unstick(void);

enum place { NOWHERE, AT_RING, AFTER_LOOK };

struct connection {
  struct sf_serve_client *client;
  atomic_bool dead;
  atomic_uint looks;
  enum place hold_at;
  unsigned let_by; /* so often before it is held */
  bool random_pauses, no_ring;
  void (*on_look)(void);
};

extern _Thread_local struct connection *mine;

struct the_gate {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool held, go;
};

void wait_until_held(void);
void open_gate(void);
void pause_at_random(void);
void connect_it(struct connection *connection);
int write_all(struct connection *connection, unsigned byte, uint64_t length, uint64_t offset);
int byte_at(uint64_t offset);

/* A request in a thread of its own. */
struct asked {
  pthread_t thread;
  struct connection *connection;
  unsigned byte;
  uint64_t length, offset;
  bool zero;
  int r;
};

void ask(struct asked *asked);
int answer(struct asked *asked);
int begin(void **state);
int end(void **state);

enum { ROUNDS = 3000, WRITERS = 3, PER_WRITER = 300 };

#endif

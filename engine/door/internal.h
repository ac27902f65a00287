/* What the files of the fast door share.
 *
 * The way of a request
 *
 *      socket ──► in ──► door_request, with pieces ──► the volume ──► done ──► out ──► socket
 *                                          └─► a worker, with a blocking call ──┘
 *
 * A piece goes to the volume at a time. Everything here is of the connection's own thread but
 * `done`, where any thread puts an answered piece, and the workers' queue. */
#ifndef SF_DOOR_INTERNAL_H
#define SF_DOOR_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <surefoot/door.h>
#include <surefoot/timed_io.h>
#include <surefoot/wire.h>

#include "base/assert.h"
#include "door/nbd.h"

enum {
  DOOR_REQUESTS = 128, /* of one connection, under way */
  DOOR_PIECES = 192,
  DOOR_PIECE_BYTES = SF_COPY_PIECE_BYTES,
  DOOR_SMALL_BYTES = 16 * 1024, /* longer pieces have large buffers, */
  DOOR_LARGE_MOST = 40,         /* and one connection has so many of the pool's at most */
  DOOR_TOGETHER = 64,           /* pieces handed over in one go */
  DOOR_IN_BYTES = 256 * 1024,
  DOOR_SENT_AT_ONCE = 64 * 1024, /* a socket that is not full has room for so much, most likely */
  DOOR_OUT_BYTES = 4 * 1024 * 1024,
  DOOR_STRAIGHT_MOST = 16, /* answers of one connection that wait in buffers of the pool, */
  DOOR_STRAIGHT_SHARE = 4, /* and one of so many buffers of the pool, of all connections together */
  DOOR_DATA_SHARE = 2, /* and one of so many may wait for its data, of all connections together */
  DOOR_PARTS = 8,      /* of one message: the kernel has room for so many without asking for it */
  DOOR_SPLIT_MOST = 1536 * 1024, /* of a read that is answered in one piece */
  DOOR_AHEAD_PIECES = 16,        /* of a longer one: what is read, and not yet sent */
  DOOR_AHEAD_BYTES = DOOR_AHEAD_PIECES * DOOR_PIECE_BYTES,
  DOOR_LONG_SHARE = 4, /* and one of so many buffers of the pool is for reading it, at most */
  DOOR_BOUNCES = 2,    /* of DOOR_PIECE_BYTES: what a worker reads or writes */
  DOOR_WORKERS = 4,
  DOOR_TICK_MS = 500,
  DOOR_GRACE_TICKS = 2,   /* for requests under way when the door closes */
  DOOR_UNREAD_TICKS = 60, /* a client that takes no answers for so long is told of */
};

struct door_connection;
struct door_request;

struct door_piece {
  struct sf_serve_request its; /* first */
  struct door_piece *next;     /* free, done, refused, or waiting for a worker */
  struct door_request *of;
  struct door_connection *connection;
  struct door_piece *more; /* of a read in several, the next one */
  unsigned char *data;     /* a worker's: a bounce, or its place in `ahead` */
  bool in_volume;
  bool is_large;      /* counted in large_held */
  bool is_straight;   /* it is the answers' now, until it is sent */
  uint64_t waited_ns; /* for its buffer */
};

struct door_request {
  struct door_request *next; /* free, or a long read that waits for its turn */
  struct nbd_request nbd;
  struct door_piece *piece; /* of a read, the first: until it is answered */
  unsigned open;            /* pieces that have not ended, and one while its data comes */
  unsigned room;            /* kept in `out` for its answer */
  int error;
};

/* The data of an answer, sent from the buffer into which it was read. */
struct door_straight {
  struct door_piece *piece;
  uint64_t after; /* so many bytes of `out` */
  size_t sent;
};

/* A ring of bytes: answers that are not sent yet.  Positions only grow, until it is empty. */
struct door_out {
  unsigned char *bytes;
  uint64_t head, tail;
  size_t kept; /* for answers to come, and for data that is sent straight */
  struct door_straight straight[DOOR_STRAIGHT_MOST]; /* a ring too */
  unsigned straight_first, straight_n;
};

/* A read that is answered while it is read (long.c).  Positions count from `base`, and each has its
 * place in `ahead`, a ring. */
struct door_long {
  struct door_request *of;        /* NULL: there is none */
  uint64_t base;                  /* where its first block begins */
  uint64_t asked, sent, end;      /* positions */
  bool there[DOOR_AHEAD_PIECES];  /* of the pieces between sent and asked */
  struct door_piece *by_worker;   /* the one that a worker reads; or NULL */
  bool looks;                     /* at a place that failed before; nothing of this is sent */
  bool begun;                     /* its header has its place among the answers, */
  uint64_t after;                 /* and its data goes after that many bytes of `out` */
  uint64_t failed, failed_length; /* the first piece that failed; 0: none has */
};

struct door_workers {
  pthread_mutex_t lock; /* of the rest */
  pthread_cond_t changed;
  struct door_piece *first, *last;
  unsigned n, busy, queued; /* threads, those with a piece, pieces without a thread */
  bool quit;
  pthread_t thread[DOOR_WORKERS];
};

struct door_connection {
  struct sf_door *door;
  int fd;
  pthread_t self;
  struct sf_serve_client *client;
  struct sf_tio_queue *queue;   /* put under door->lock */
  atomic_bool gone;             /* nothing is received, sent or waited for any more */
  atomic_bool closing;          /* the client asked for the end: requests under way are answered */
  atomic_bool has_said_the_end; /* NBD_CMD_DISC is the last that was received, and not yet taken */
  unsigned stopping;            /* ticks since the door closes; 0: it does not */

  struct nbd_handshake handshake;
  struct nbd_export export;
  bool serving; /* the handshake is over */
  unsigned quiet_ticks, unread_ticks;
  uint64_t tick_ns; /* 0: nothing to look after */

  unsigned char *in;
  size_t in_begin, in_end;
  uint64_t skip;                /* bytes of input to drop: data of a refused request */
  struct door_request *filling; /* its data is coming */
  struct door_piece *piece;     /* of that, the piece that is being filled; or NULL */
  uint64_t fill_offset;         /* where it begins, or the next one does */
  uint32_t filled, fill_left;   /* of the piece; and of the request, from the piece on */
  bool waits_for_data;          /* the piece, in a buffer of the pool's share for that */
  bool blocked;                 /* what has come cannot be taken yet */
  bool wants_buffer;            /* and that for want of one of the pool's */
  uint64_t waits_since_ns;      /* for a buffer; 0: it does not */
  uint64_t waited_ns;

  struct sf_tio_message receive, send;
  struct msghdr receive_header, send_header;
  struct iovec receive_part[2], send_part[DOOR_PARTS];
  bool receiving, received, sending, sent;
  bool sent_in_part; /* what was sent last: the socket is full */
  int receive_result, send_result;

  struct door_out out;
  struct door_long its_long;
  struct door_request *long_first, *long_last; /* that wait for their turn */
  unsigned char *ahead;

  unsigned outstanding; /* requests */
  unsigned large_held;
  struct sf_serve_request *batch[DOOR_TOGETHER + DOOR_AHEAD_PIECES];
  unsigned batch_n;
  struct door_piece *refused; /* to be given to a worker, when a bounce is free */
  struct door_piece *_Atomic done;

  unsigned char *bounce;
  bool bounce_taken[DOOR_BOUNCES];
  struct door_workers workers;

  struct door_request *free_request;
  struct door_piece *free_piece;
  struct door_request request[DOOR_REQUESTS];
  struct door_piece piece_of[DOOR_PIECES];
};

struct sf_door {
  struct sf_socket_file socket;
  struct sf_serve *serve;
  int (*nbd_errno)(int error);
  char description[NBD_DESCRIPTION_MAX + 1];
  int wake_fd;
  atomic_uint straight_left; /* buffers that answers may still wait in */
  atomic_uint data_left;     /* and that may still wait for their data */
  pthread_t thread;
  bool started;
  atomic_bool stop;

  pthread_mutex_t lock; /* of the rest */
  pthread_cond_t changed;
  unsigned connections;
  struct door_connection *connection[SF_DOOR_CONNECTIONS_MAX];
  bool failed; /* a long read, after its answer had begun, */
  uint64_t failed_at;
};

/* memory.c */
int sf_door_connection_create(struct sf_door *door, int fd, struct door_connection **connection);
void sf_door_connection_destroy(struct door_connection *c);

/* connections.c: which there are */
bool sf_door_is_full(struct sf_door *door);
/* By one thread only, which has seen that it is not full. */
void sf_door_enter(struct sf_door *door, struct door_connection *connection);
/* Frees it: the last that the connection's thread does with both. */
void sf_door_leave(struct sf_door *door, struct door_connection *connection);
/* All are woken; false: some have not ended by then. */
bool sf_door_wait_for_all(struct sf_door *door, unsigned seconds);

/* connection.c: the thread of one connection, which leaves in the end */
void *sf_door_connection_main(void *connection);

/* gone.c */
bool sf_door_client_is_gone(void *connection); /* any thread; a look */
bool sf_door_ends_with_disc(const unsigned char *bytes, size_t n);
void sf_door_gone(struct door_connection *c); /* the client, or we do not want it any more */
/* The same, for a reason that is told; many alike are one line. */
void sf_door_drop(struct door_connection *c, const char *why);

/* requests.c: from bytes to pieces, from pieces to answers */
void sf_door_take_input(struct door_connection *c);
void sf_door_take_done(struct door_connection *c);
void sf_door_hand_over(struct door_connection *c);
/* Where the next bytes go; the number of parts, 0: nowhere yet. */
unsigned sf_door_input_parts(struct door_connection *c, struct iovec part[2]);
void sf_door_give_up(struct door_connection *c);
void sf_door_drop_unfinished(struct door_connection *c); /* at the end */

/* pieces.c: slots of requests and pieces, and their memory */
void sf_door_pieces_init(struct door_connection *c);
struct door_request *sf_door_request_get(struct door_connection *c, const struct nbd_request *nbd);
void sf_door_request_put(struct door_connection *c, struct door_request *request);
/* With a buffer of the pool for `length` bytes, 0: without.  -EAGAIN: not now. */
int sf_door_piece_get(struct door_connection *c, struct door_request *of, size_t length,
                      struct door_piece **piece);
/* With memory for a worker. */
int sf_door_piece_get_bounce(struct door_connection *c, struct door_request *of, size_t length,
                             struct door_piece **piece);
/* Its buffer is put, and its data is a worker's from now on.  -EAGAIN: not now. */
int sf_door_piece_move_to_bounce(struct door_connection *c, struct door_piece *piece);
void sf_door_piece_put(struct door_connection *c, struct door_piece *piece);
unsigned char *sf_door_piece_data(const struct door_piece *piece);
bool sf_door_is_whole(const struct door_connection *c, uint64_t offset, uint64_t length);
bool sf_door_waits_too_long(struct door_connection *c); /* for a buffer */
void sf_door_waits_for_none(struct door_connection *c); /* any more: what it waited is forgotten */
bool sf_door_take_share(atomic_uint *left);             /* false: there is none left */

/* long.c: reads of more than a piece */
bool sf_door_read_is_long(const struct door_request *request);
/* Short enough to be answered in one piece. */
bool sf_door_may_split(const struct door_request *request);
/* All its pieces, each with a buffer.  -EAGAIN: not now, and it has none. */
int sf_door_split_get(struct door_connection *c, struct door_request *request);
/* To be answered while it is read, when its turn comes.  It has room for its header. */
void sf_door_long_wait(struct door_connection *c, struct door_request *request);
bool sf_door_is_of_long(const struct door_connection *c, const struct door_piece *piece);
/* One of its pieces has ended, and is put. */
void sf_door_long_take(struct door_connection *c, struct door_piece *piece);
/* All its pieces have ended, as far as it was asked for.  False: it is no such read, or it is to be
 * answered with its error. */
bool sf_door_long_goes_on(struct door_connection *c, struct door_request *request);
/* Each turn, before what has come is taken: puts the one that was sent, whose place that may need. */
void sf_door_long_sent(struct door_connection *c);
/* And after it: asks for more, says the header, begins the next one. */
void sf_door_long_next(struct door_connection *c);

/* ahead.c */
uint64_t sf_door_ahead_next(const struct door_long *its, uint64_t at); /* where the piece ends */
unsigned sf_door_ahead_slot(uint64_t at);
/* Its data up to there may be sent. */
uint64_t sf_door_ahead_there(const struct door_long *its);

/* out.c */
bool sf_door_out_keep(struct door_connection *c, struct door_request *request, size_t bytes);
void sf_door_out_say(struct door_connection *c, const void *bytes,
                     size_t n); /* in room kept before */
/* What a piece has read: copied, or the piece is the answers' from now on (is_straight). */
void sf_door_out_say_data(struct door_connection *c, struct door_piece *piece);
void sf_door_out_release(struct door_connection *c, struct door_request *request);
bool sf_door_out_is_empty(const struct door_connection *c);
unsigned sf_door_out_parts(struct door_connection *c, struct iovec part[DOOR_PARTS]);
void sf_door_out_sent(struct door_connection *c, size_t n);
/* The client is gone, and nothing is being sent: gives the pool its buffers back. */
void sf_door_out_drop(struct door_connection *c);

/* workers.c */
void sf_door_workers_init(struct door_workers *workers);
/* The first one.  -errno: there is none, and no piece can be given to it. */
int sf_door_workers_begin(struct door_connection *c);
void sf_door_work(struct door_connection *c, struct door_piece *piece);
void sf_door_workers_end(struct door_workers *workers);
void sf_door_piece_done(struct door_piece *piece); /* any thread */
/* With the next hand-over, which is the caller's to see to. */
void sf_door_piece_to_volume(struct door_connection *c, struct door_piece *piece);

#endif

/* A rig with the fast door before a volume that the test plays, and clients of it by hand.
 *
 * A test defines __wrap_sf_volume_submit(), and __wrap_sf_volume_give_up() where it is linked with
 * it; the door's threads call them.  The rig plays the volume's size and its telling.  All else
 * here is for the test's own thread, and fails the test where it does not go well.
 *
 * Offsets and lengths are bytes, times nanoseconds of sf_tio_now().  The rig owns what it declares;
 * a client's socket is the test's to close. */
#ifndef TEST_DOOR_RIG_H
#define TEST_DOOR_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/units.h"
#include "door/internal.h"
#include "serve/internal.h"

enum { BLOCK = 4096, PIECE = 256 << 10, REQUEST_BYTES = 28, PATIENCE_MS = 10000 };
enum { READ = 0, WRITE = 1 }; /* commands */

#define MIB UINT64_C(1048576)

extern struct sf_serve *serve;
extern struct sf_door *door; /* NULL once the test has closed it */
extern char socket_path[64];
/* A test that keeps requests calls their `done` with it, as a volume does. */
extern pthread_mutex_t volume_lock;

void __wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns);
void __wrap_sf_volume_give_up(struct sf_volume *v, struct sf_request *request, uint64_t now_ns);
uint64_t __wrap_sf_volume_size(struct sf_volume *v);
void __wrap_sf_volume_wait_told(struct sf_volume *v);

/* A server with a volume of so many bytes.  It has no door yet: the test may change more of it.
 * Ends the program as skipped where there is no io_uring. */
void door_rig_init(uint64_t bytes, const struct sf_tio_client_params *pool);
/* Its door, in a directory of its own; clients see our errors as they are. */
void door_rig_open(void);
/* A teardown.  Fails if the pool misses a buffer, or had one back twice. */
int door_rig_end(void **state);

/* For a loop that looks for what is to come: look_again() sleeps for a millisecond between two
 * looks, and fails when the end of patience has come. */
uint64_t end_of_patience(void);
void look_again(uint64_t until);
void until_connections_left(unsigned n); /* or fewer */
unsigned free_large_buffers(void);       /* of the pool, now */

/* A socket that is connected; of connect_client() also greeted, and ready for requests. */
int connect_ungreeted(void);
int connect_client(void);

void hear(int fd, void *bytes, size_t n);
void send_zeros(int fd, size_t n);
/* Without data.  The reply has the same cookie. */
void send_request(int fd, unsigned char command, uint64_t offset, uint64_t length,
                  unsigned char cookie);
/* A reply that tells no error; returns its cookie. */
unsigned char hear_well(int fd);
/* A reply with this cookie; returns its error. */
unsigned hear_header(int fd, unsigned char cookie);

/* Reads and writes of a volume in which each eight bytes say where they are. */
void say_where(void *data, uint64_t offset, uint64_t length);
void ask_read(int fd, uint64_t offset, uint64_t length, unsigned char cookie);
void hear_data(int fd, uint64_t offset, uint64_t length);
/* With the reply: nothing else may be answered meanwhile. */
void read_it(int fd, uint64_t offset, uint64_t length);
void write_it(int fd, uint64_t offset, uint32_t length); /* zeros, which the volume drops */

#endif

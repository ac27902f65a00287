/* The simulated timed I/O: regions in flight, buffers, devices.  A part of sim.h. */
#ifndef SIM_TIO_H
#define SIM_TIO_H

/* ---- regions in flight (tio.c) ---- */

struct region {
  bool used;
  uint32_t generation;
  int next, previous; /* in its leg's list */
  unsigned leg;
  uint32_t device, life;
  enum sf_tio_op op;
  unsigned flags;
  uint64_t offset, length;
  struct sf_tio_buffer *buffer;
  sf_tio_event_fn *notify;
  void *context;
  uint64_t handle;
  unsigned index;
  uint64_t submitted_ns;
  bool early;       /* READ: sampled when submitted */
  bool parked;      /* hangs until cured */
  bool lost;        /* hangs by itself */
  bool late;        /* past its timeout, whether or not it is waited for */
  uint64_t keep_ns; /* it takes so much longer */
  bool doomed;      /* fails */
  bool dying;       /* with its device, and has not said it yet */
  bool lands;       /* when it does */
  bool delayed;     /* by a stall */
  bool finished, canceled, canceled_told, real;
  bool old; /* here since before the leg left the set: the fence stands (R5) */
  int error;
  uint32_t flush_seq;
  /* busy runs: service.c */
  enum service_state { SERVICE_NOT, SERVICE_WAITING, SERVICE_SERVING } service;
  int waits_before; /* the next in its leg's queue, or -1 */
  uint64_t due_ns, paused_before_ns, work_ns, path_ns;
};

extern const struct sf_volume_host tio_host;
void tio_init(void);
void tio_free(void);
void tio_event(const struct event *event);
void tio_leg_left(unsigned leg); /* marks what it holds as old */
void tio_leg_gone(unsigned leg); /* all that it holds fails */
void tio_unpark(unsigned leg);   /* what hung goes on */
void tio_process_ended(bool power);
bool tio_map_page_in_flight(unsigned leg, uint64_t page); /* one of its copies */
bool tio_superblock_in_flight(unsigned leg, const struct region **region);
struct sf_tio_device *tio_open(unsigned leg);
struct sf_tio_device *tio_open_beside(unsigned leg); /* the old one stays in use */
void tio_take_over(unsigned leg);                    /* and now it does not */
bool tio_has_ghosts(unsigned leg);
bool tio_writes(unsigned leg); /* of this process, and not where nobody looks */
bool tio_writes_beside(unsigned leg, const struct sf_record *record); /* but superblocks with it */
unsigned tio_have_it_too(unsigned leg, uint64_t offset); /* in-sync legs that hold that write */
bool tio_has_lost(unsigned leg);
bool tio_has_late(unsigned leg);
uint64_t tio_late_since(unsigned leg, enum sf_tio_op op,
                        uint64_t offset); /* SIM_NEVER: it is not */
void tio_doom_flush(unsigned leg);

/* ---- regions.c ---- */

extern struct region *regions;
struct region *region_new(unsigned leg);
void region_unlink(struct region *region); /* it does not run any more */
void region_release(struct region *region);
void regions_free_all(void);
uint32_t region_index(const struct region *region);

#define EACH_REGION(r, leg_index)                                                                  \
  for (int r##_i = sim.leg[leg_index].regions, r##_next;                                           \
       r##_i >= 0 && (r##_next = regions[r##_i].next, true); r##_i = r##_next)                     \
    for (struct region *r = &regions[r##_i]; r != NULL; r = NULL)

static inline bool
op_writes(enum sf_tio_op op) {
  return op == SF_TIO_WRITE || op == SF_TIO_ZERO;
}

/* ---- buffers.c ---- */

struct sf_tio_buffer *buffer_new(size_t length);
void buffer_ref(struct sf_tio_buffer *buffer);
void buffer_unref(struct sf_tio_buffer *buffer);
void
buffer_is_whole(struct sf_tio_buffer *buffer); /* metadata: more than one place of each block */
void buffers_free(void);
struct sf_tio_buffer *buffer_get(void *ctx, size_t len); /* the host's */
void buffer_put(void *ctx, struct sf_tio_buffer *buffer);

/* ---- answers that are late, and errors (late.c) ---- */

void late_start(void);
bool late_fails(const struct region *r, int *error);
void late_copy(struct region *r, uint64_t timeout_ns); /* before it starts */
bool late_death_lands(unsigned leg);                   /* what it had lands with its error */
uint64_t late_death_ns(void); /* how long each error of a device takes that is dead now */

/* ---- submitted.c ---- */

extern const char *const op_name[];
void check_submitted(unsigned leg, const struct sf_tio_control *control,
                     const struct sf_tio_region *want);

#endif

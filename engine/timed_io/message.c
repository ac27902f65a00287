/* Messages: what a thread that attends alone receives from its sockets and sends to them, on the
 * ring on which its regions are, so that one system call waits for all of it. */
#include "timed_io/internal.h"

#include <sys/socket.h>

static unsigned
find_place(const struct sf_tio_queue *queue) {
  for (unsigned i = 0; i < SF_TIO_MESSAGES_MAX; i++)
    if (queue->message[i] == NULL)
      return i;
  SF_ASSERT(!"more messages than there is room for");
  return 0;
}

static struct io_uring_sqe *
get_sqe(struct sf_tio_queue *queue) {
  struct io_uring_sqe *sqe = io_uring_get_sqe(&queue->ring.uring);

  while (sqe == NULL) {
    io_uring_submit(&queue->ring.uring);
    sqe = io_uring_get_sqe(&queue->ring.uring);
  }
  return sqe;
}

static struct io_uring_sqe *
enter(struct sf_tio_queue *queue, struct sf_tio_message *message, unsigned *place) {
  SF_ASSERT(queue->alone);
  SF_ASSERT(message->header->msg_iovlen > 0);
  *place = find_place(queue);
  queue->message[*place] = message;
  return get_sqe(queue);
}

/* One stretch of memory costs the kernel less without a header, and so does a receive that waits
 * without trying first when no data is there.  A kernel with DEFER_TASKRUN knows that flag as
 * well. */
void
sf_tio_receive(struct sf_tio_queue *queue, int socket, struct sf_tio_message *message) {
  struct msghdr *header = message->header;
  unsigned place;
  struct io_uring_sqe *sqe = enter(queue, message, &place);

  if (header->msg_iovlen == 1)
    io_uring_prep_recv(sqe, socket, header->msg_iov[0].iov_base, header->msg_iov[0].iov_len, 0);
  else
    io_uring_prep_recvmsg(sqe, socket, header, 0);
  if (message->none_yet && queue->ring.uring.flags & IORING_SETUP_DEFER_TASKRUN)
    sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
  sqe->user_data = SF_TIO_UD_MESSAGE + place;
}

void
sf_tio_send(struct sf_tio_queue *queue, int socket, struct sf_tio_message *message) {
  struct msghdr *header = message->header;
  unsigned place;
  struct io_uring_sqe *sqe = enter(queue, message, &place);

  if (header->msg_iovlen == 1)
    io_uring_prep_send(sqe, socket, header->msg_iov[0].iov_base, header->msg_iov[0].iov_len,
                       MSG_NOSIGNAL);
  else
    io_uring_prep_sendmsg(sqe, socket, header, MSG_NOSIGNAL);
  sqe->user_data = SF_TIO_UD_MESSAGE + place;
  queue->sends += !message->none_yet;
}

void
sf_tio_message_take(struct sf_tio_queue *queue, uint64_t user_data, int res) {
  uint64_t place = user_data - SF_TIO_UD_MESSAGE;
  struct sf_tio_message *message;

  SF_ASSERT(place < SF_TIO_MESSAGES_MAX);
  message = queue->message[place];
  SF_ASSERT(message != NULL);
  queue->message[place] = NULL;
  message->result = res;
  message->next = queue->messages_done;
  queue->messages_done = message;
}

void
sf_tio_messages_tell(struct sf_tio_queue *queue) {
  while (queue->messages_done) {
    struct sf_tio_message *message = queue->messages_done;

    queue->messages_done = message->next;
    message->done(message, message->result);
  }
}

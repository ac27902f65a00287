/* An intrusive, circular, doubly linked list. */
#ifndef SF_BASE_LIST_H
#define SF_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sf_list {
  struct sf_list *next, *prev;
};

static inline void
sf_list_init(struct sf_list *head) {
  head->next = head->prev = head;
}

static inline bool
sf_list_empty(const struct sf_list *head) {
  return head->next == head;
}

static inline void
sf_list_append(struct sf_list *head, struct sf_list *entry) {
  entry->next = head;
  entry->prev = head->prev;
  head->prev->next = entry;
  head->prev = entry;
}

static inline void
sf_list_prepend(struct sf_list *head, struct sf_list *entry) {
  sf_list_append(head->next, entry);
}

static inline void
sf_list_remove(struct sf_list *entry) {
  entry->prev->next = entry->next;
  entry->next->prev = entry->prev;
  entry->next = entry->prev = entry;
}

#define SF_LIST_ENTRY(pointer, type, member)                                                       \
  ((type *) ((uintptr_t) (pointer) -offsetof(type, member)))

/* Safe when the body removes `entry` itself and nothing else. */
#define SF_LIST_EACH(entry, head)                                                                  \
  for (struct sf_list *entry = (head)->next, *entry##_next = entry->next; entry != (head);         \
       entry = entry##_next, entry##_next = entry->next)

#endif

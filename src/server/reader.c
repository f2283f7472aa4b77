/* The reader's thread: parsing megabytes of JSON and tokenizing them takes a while, in which the HTTP thread goes on
 * sending what others wait for. One thread, so that one request at a time needs the memory of a parsed body. */
#include "server/private.h"

void el_reader_push(el_server *s, el_exchange *x) {
  el_exchange_retain(x);
  if (s->queue_tail)
    s->queue_tail->next_queued = x;
  else
    s->queue_head = x;
  s->queue_tail = x;
  pthread_cond_signal(&s->queued);
}

/* NULL: the server stops, and the queue is empty. */
static el_exchange *pop(el_server *s) {
  pthread_mutex_lock(&s->mutex);
  while (!s->queue_head && !s->stopping) pthread_cond_wait(&s->queued, &s->mutex);
  el_exchange *x = s->queue_head;
  if (x && !(s->queue_head = x->next_queued)) s->queue_tail = NULL;
  pthread_mutex_unlock(&s->mutex);
  return x;
}

void *el_reader_main(void *server) {
  el_exchange *x;
  while ((x = pop(server))) {
    el_exchange_submit(x);
    el_exchange_release(x);
  }
  return NULL;
}

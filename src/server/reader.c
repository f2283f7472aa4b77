/* The reader's thread: parsing megabytes of JSON and tokenizing them takes a while, in which the HTTP thread goes on
 * sending what others wait for. One thread, so that one request at a time needs the memory of a parsed body. */
#include "server/private.h"

void el_queue_push(el_queue *q, el_exchange *x) {
  if (x->queued) return;
  x->queued = true;
  el_exchange_retain(x);
  x->next_queued = NULL;
  if (q->tail)
    q->tail->next_queued = x;
  else
    q->head = x;
  q->tail = x;
  pthread_cond_signal(&q->changed);
}

el_exchange *el_queue_pop(el_server *s, el_queue *q) {
  pthread_mutex_lock(&s->mutex);
  while (!q->head && !s->stopping) pthread_cond_wait(&q->changed, &s->mutex);
  el_exchange *x = q->head;
  if (x) {
    if (!(q->head = x->next_queued)) q->tail = NULL;
    x->queued = false;
  }
  pthread_mutex_unlock(&s->mutex);
  return x;
}

void *el_reader_main(void *server) {
  el_server *s = server;
  el_exchange *x;
  while ((x = el_queue_pop(s, &s->read))) {
    el_exchange_submit(x);
    el_exchange_release(x);
  }
  return NULL;
}

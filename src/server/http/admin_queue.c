#include "server/http/state.h"

void el_admin_push(el_server *s, el_exchange *x) {
  el_queue *q = &s->admin;
  el_exchange_retain(x);
  x->next_queued = NULL;
  if (q->tail)
    q->tail->next_queued = x;
  else
    q->head = x;
  q->tail = x;
  pthread_cond_signal(&q->changed);
}

el_exchange *el_admin_pop(el_server *s) {
  el_queue *q = &s->admin;
  pthread_mutex_lock(&s->mutex);
  while (!q->head && !s->stopping) pthread_cond_wait(&q->changed, &s->mutex);
  el_exchange *x = q->head;
  if (x && !(q->head = x->next_queued)) q->tail = NULL;
  pthread_mutex_unlock(&s->mutex);
  return x;
}

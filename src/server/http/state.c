#include "server/http/state.h"

el_api_keys *el_server_keys(el_server *s) {
  pthread_mutex_lock(&s->mutex);
  el_api_keys *keys = el_api_keys_retain(s->keys);
  pthread_mutex_unlock(&s->mutex);
  return keys;
}

bool el_server_is_ready(el_server *s) {
  return !atomic_load(&s->leaving) && !atomic_load(&s->draining);
}

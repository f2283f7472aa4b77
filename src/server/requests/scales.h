/* Adapters with scales, as llama-server has them, instead of one adapter by name: a request's own "lora",
 * and the scales for all requests that name no adapter (POST /lora-adapters). */
#ifndef EL_SERVER_SCALES_H
#define EL_SERVER_SCALES_H

#include <pthread.h>

#include "server/access/keys.h"
#include "server/requests/request.h"

typedef struct el_scales {
  pthread_mutex_t mutex;
  el_lora_scale all[EL_MAX_COMBINED];
  size_t n;
} el_scales;

void el_scales_init(el_scales *s);
void el_scales_free(el_scales *s);

/* Sets and gets the scales for requests that name no adapter. A change applies to later requests. */
void el_scales_set(el_scales *s, const el_lora_scale *all, size_t n);
size_t el_scales_get(el_scales *s, el_lora_scale all[EL_MAX_COMBINED]);

/* The adapters of a request with their scales. */
typedef struct el_scaled {
  el_adapter_scale list[EL_MAX_COMBINED];
  el_adapter_info *infos[EL_MAX_COMBINED]; /* these own the names in `list` */
  size_t n;
} el_scaled;

/* Finds the adapters of a request: its own "lora", or the scales for all requests, or the one that its
 * model names (n is 0 then). `key` is the caller's. False: *e. Release *out in any case. */
bool el_scaled_find(el_engine *engine, el_scales *s, const char *base, const el_key *key, const el_api_request *r,
                    el_scaled *out, el_api_error *e);
void el_scaled_release(el_scaled *a);

/* The adapter label in metrics of a request with several adapters, or with a scale. */
#define EL_SCALED_LABEL "combined"

#endif

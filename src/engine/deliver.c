#include "engine/deliver.h"

#include <time.h>

#include "adapter/invocation.h"
#include "base/clock.h"
#include "base/error.h"

/* What a sequence that ends has used its adapter for. */
static void count_usage(const el_seq *q) {
  if (!q->adapter || el_seq_chooses(q)) return;
  el_usage *u = q->adapter->usage;
  if (q->n_reached >= q->n_prompt) atomic_fetch_add(&u->prompt_tokens, (uint64_t)q->n_prompt);
  atomic_fetch_add(&u->generated_tokens, (uint64_t)el_seq_n_new(q));
  atomic_store(&u->last_used, (int_fast64_t)time(NULL));
}

void el_deliver_end(el_engine *e, el_seq *q, el_finish how, const el_error *error, const el_drawn *end) {
  el_scheduler_remove(&e->scheduler, q);
  count_usage(q);
  el_speculation_end(&e->speculation, q);
  el_registry_put(e->registry, q->adapter);
  q->adapter = NULL;
  if (q->decision && q->decision->on_vector) q->decision->on_vector(q->decision->vector_user, NULL);
  el_stop_push(&q->stop, NULL, 0, true); /* out of memory: what is held back is lost, the request ends all the same */
  if (how == EL_FINISH_LENGTH && q->stop.matched) how = EL_FINISH_STOP;
  uint64_t now = el_now_ns(), first = q->first_ns ? q->first_ns : now;
  el_event event = {.type = EL_EVENT_DONE,
                    .text = q->stop.n_certain ? q->stop.text.data : "",
                    .text_len = q->stop.n_certain,
                    .done = {.token = end ? el_deliver_token(q, end) : (el_event_token){.id = -1},
                             .stop_token = end && end->stop_token,
                             .finish = how,
                             .stop = how == EL_FINISH_STOP ? q->stop.matched : NULL,
                             .prompt_tokens = q->n_prompt,
                             .completion_tokens = el_seq_n_new(q),
                             .cached_tokens = q->cached_tokens,
                             .base_tokens = q->adapter_from < q->n_prompt ? q->adapter_from : q->n_prompt,
                             .not_invoked = q->adapter_from == EL_NOT_INVOKED,
                             .draft_tokens = q->draft.n_proposed,
                             .draft_tokens_accepted = q->draft.n_accepted,
                             .queued_ms = el_ms_between(q->submitted_ns, q->started_ns ? q->started_ns : now),
                             .load_ms = el_ms_between(q->loading_ns, q->loaded_ns ? q->loaded_ns : now),
                             .prompt_ms = el_ms_between(q->started_ns, first),
                             .decode_ms = el_ms_between(q->first_ns, now)}};
  el_event_done *done = &event.done;
  if (error) done->error = *error;
  if (error && q->decision && *q->adapter_name) done->adapter = q->adapter_name;
  static const char *const how_name[] = {"stop", "length", "cancelled", "error"};
  el_logf(&e->log, EL_LOG_DEBUG, "request %llu: %s after %d tokens; waited %.1f ms, prompt %.1f ms, generation %.1f ms",
          (unsigned long long)q->id, how_name[how], done->completion_tokens, done->queued_ms, done->prompt_ms,
          done->decode_ms);
  /* Counted before the client hears of it. */
  if (!q->is_reading)
    atomic_fetch_add(how == EL_FINISH_CANCELLED ? &e->count.cancelled
                     : how == EL_FINISH_ERROR   ? &e->count.failed
                                                : &e->count.done,
                     1);
  if (done->not_invoked && (how == EL_FINISH_STOP || how == EL_FINISH_LENGTH)) {
    atomic_fetch_add(&e->count.not_invoked, 1);
    el_logf(&e->log, EL_LOG_DEBUG, "request %llu: the base has answered, as the invocation of %s is not in the prompt",
            (unsigned long long)q->id, q->adapter_name);
  }
  atomic_store(&e->count.running, e->scheduler.n_running);
  el_memory_publish(&e->memory);
  el_request_deliver_done(e, q, &event);
}

void el_deliver_failure(el_engine *e, el_seq *q, const el_error *error) {
  el_logf(&e->log, EL_LOG_WARN, "request %llu failed: %s", (unsigned long long)q->id, error->message);
  el_deliver_end(e, q, EL_FINISH_ERROR, error, NULL);
}

bool el_deliver_event(el_engine *e, el_seq *q, el_event *event) {
  event->text = q->stop.n_certain ? q->stop.text.data : "";
  event->text_len = q->stop.n_certain;
  if (!el_request_deliver(e, q, event)) {
    el_error error;
    el_fail(&error, EL_ERR_NO_MEMORY, "out of memory for events that wait to be taken");
    el_deliver_failure(e, q, &error);
    return false;
  }
  el_stop_taken(&q->stop);
  return true;
}

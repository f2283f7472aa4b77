/* What becomes of a sequence when the router has decided. */
#include "engine/decide.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "engine/deliver.h"

/* Tells the client what was decided, once; false: the sequence has failed and is gone. */
static bool tell(el_engine *e, el_seq *q, const el_entry *chosen) {
  el_decision *decision = q->decision;
  el_candidate_list candidates;
  el_chooser_list(&e->chooser, decision, &candidates);
  free(decision->ranking);
  decision->ranking = NULL;
  el_event event = {.type = EL_EVENT_DECISION,
                    .decision = {.adapter = el_chooser_name_of(&e->chooser, chosen),
                                 .candidates = candidates.items,
                                 .n_candidates = (size_t)candidates.n,
                                 .ms = decision->ms}};
  const bool delivered = el_deliver_event(e, q, &event);
  el_chooser_unlist(&e->chooser, &candidates);
  return delivered;
}

/* What the request leaves open is as the chosen one's preset says. False: the sequence has failed and is gone. */
static bool apply_preset(el_engine *e, el_seq *q, const el_entry *chosen) {
  el_error error;
  const el_constraint *schema;
  if (el_presets_constraint(e, el_presets_of(e, chosen), q->preset_fields, &schema, &error)) {
    el_deliver_failure(e, q, &error);
    return false;
  }
  pthread_mutex_lock(&e->mutex); /* el_request_list reads how many tokens there may be */
  bool ok = el_seq_apply_preset(q, el_presets_of(e, chosen), schema);
  pthread_mutex_unlock(&e->mutex);
  if (ok) return true;
  el_constraint_release(schema);
  el_fail(&error, EL_ERR_NO_MEMORY, "auto: out of memory for the stop strings of a preset");
  el_deliver_failure(e, q, &error);
  return false;
}

/* The sequence goes on with the base, from where the router's layers ended if it can. */
static void go_on_with_base(el_engine *e, el_seq *q) {
  q->decision->goes_on = q->decision->own && !q->adapter;
  if (!q->decision->goes_on) el_decision_drop_states(q->decision);
  el_memory_unpin(&e->memory, q->adapter);
  el_registry_put(e->registry, q->adapter);
  q->adapter = NULL;
}

/* A waiting sequence has this adapter from now on (NULL: the base), and the reference to it. */
static void give(el_engine *e, el_seq *q, el_entry *adapter) {
  el_registry_put(e->registry, q->adapter);
  q->adapter = adapter;
  q->cached_tokens = q->n_reached = 0; /* they were another one's */
  pthread_mutex_lock(&e->mutex);       /* el_request_list reads the name */
  snprintf(q->adapter_name, sizeof q->adapter_name, "%s", adapter ? adapter->name : "");
  pthread_mutex_unlock(&e->mutex);
  el_memory_use(&e->memory, adapter);
}

/* The sequence begins anew with an adapter, of which it gets a reference: it waits, in the place that it had, and
 * starts before the next step if nothing else is in its way. */
static void begin_with(el_engine *e, el_seq *q, el_entry *adapter) {
  el_scheduler_remove(&e->scheduler, q);
  el_decision_drop_states(q->decision);
  give(e, q, adapter); /* instead of what the prompt was read with */
  el_scheduler_add(&e->scheduler, q);
}

void el_decide(el_engine *e, el_seq *q) {
  el_decision *decision = q->decision;
  decision->made = true;
  el_chooser_read(&e->chooser, decision, e->scheduler.state_floats);
  if (decision->on_vector) {
    decision->on_vector(decision->vector_user, e->chooser.vector);
    decision->on_vector = NULL;
    el_deliver_end(e, q, EL_FINISH_LENGTH, NULL, NULL);
    return;
  }
  el_error error;
  el_entry *entry = NULL;
  if (el_chooser_decide(&e->chooser, q, &entry, &error)) {
    el_deliver_failure(e, q, &error);
  } else if (decision->only_decide) {
    if (tell(e, q, entry)) el_deliver_end(e, q, EL_FINISH_LENGTH, NULL, NULL);
  } else if (!apply_preset(e, q, entry)) {
    /* it is gone */
  } else if (!entry) {
    if (tell(e, q, NULL)) go_on_with_base(e, q);
  } else {
    begin_with(e, q, entry);
    return; /* the reference is the sequence's now */
  }
  el_registry_put(e->registry, entry);
}

bool el_decide_next(el_engine *e, el_seq *q, const el_error *why) {
  el_entry *entry = NULL;
  if (!el_chooser_decide_next(&e->chooser, q, why, &entry)) return false;
  el_entry *held = entry;
  if (held) el_registry_hold(e->registry, held); /* the sequence may fail, and be gone */
  give(e, q, entry);
  apply_preset(e, q, entry);
  el_registry_put(e->registry, held);
  return true;
}

void el_decide_tell(el_engine *e, el_seq *q) {
  if (q->decision && q->decision->ranking) tell(e, q, q->adapter);
}

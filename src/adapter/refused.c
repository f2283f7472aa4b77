#include "adapter/refused.h"

#include <stdlib.h>
#include <string.h>

static void free_entry(el_refused_entry *e) {
  free(e->name);
  free(e->path);
}

/* Whether r already has an entry that says the same. */
static bool is_known_refusal(const el_refused *r, const el_refused_entry *e) {
  for (size_t i = 0; i < r->n; i++)
    if (r->items[i].dir == e->dir && !strcmp(r->items[i].path, e->path) &&
        !strcmp(r->items[i].error.message, e->error.message))
      return true;
  return false;
}

/* False: out of memory. */
static bool make_refusal(el_refused_entry *e, int dir, const el_found_adapter *f) {
  *e = (el_refused_entry){.name = strdup(f->name), .path = strdup(f->path), .dir = dir};
  e->error.code = f->status;
  e->error.detail = f->detail;
  strncpy(e->error.message, f->problem, sizeof e->error.message - 1);
  if (e->name && e->path) return true;
  free_entry(e);
  return false;
}

bool el_refused_replace(el_refused *r, int dir, const el_found *found,
                        void (*fresh)(void *user, const el_refused_entry *entry), void *user) {
  el_refused next = {0};
  size_t n = r->n, made = 0;
  for (size_t i = 0; i < found->n; i++) n += found->items[i].status != EL_OK;
  if (!n) return true;
  if (!(next.items = calloc(n, sizeof *next.items))) return false;
  for (size_t i = 0; i < found->n; i++) {
    if (!found->items[i].status || !found->items[i].problem) continue;
    if (!make_refusal(&next.items[made], dir, &found->items[i])) {
      next.n = made;
      el_refused_free(&next);
      return false;
    }
    made++;
  }
  for (size_t i = 0; i < made; i++)
    if (fresh && !is_known_refusal(r, &next.items[i])) fresh(user, &next.items[i]);
  next.n = made;
  for (size_t i = 0; i < r->n; i++)
    if (r->items[i].dir == dir)
      free_entry(&r->items[i]);
    else
      next.items[next.n++] = r->items[i];
  free(r->items);
  *r = next;
  return true;
}

const el_refused_entry *el_refused_find(const el_refused *r, const char *name) {
  for (size_t i = 0; i < r->n; i++)
    if (!strcmp(r->items[i].name, name)) return &r->items[i];
  return NULL;
}

void el_refused_free(el_refused *r) {
  for (size_t i = 0; i < r->n; i++) free_entry(&r->items[i]);
  free(r->items);
  *r = (el_refused){0};
}

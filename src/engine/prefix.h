/* The prefix cache: pages of keys and values that outlive the sequence that computed them, for others that begin alike.
 * Engine thread only.
 *
 * A full page depends on its sequence's adapter and on all tokens up to its end, and on nothing else: the model gives
 * the same bits whatever the chunks and the neighbours were. So it may stand in for a computation of the same tokens
 * with the same adapter. Never with another one: an adapter changes the keys and values of every layer but the first's
 * inputs, so what the base computed serves requests of the base, and what an adapter computed serves that adapter.
 *
 * An activated adapter (adapter/invocation.h) begins inside of a prompt: full pages before that are the base's, and
 * serve the base and all such adapters; from the page on in which it begins they are the adapter's. Where in that page
 * it begins is part of the key, since the page's tokens do not say it: an invocation may end in the next page, or be
 * followed by another one.
 *
 * Pages form a tree: the key of one is (domain, adapter, the page before it, its tokens). The page before it is itself
 * in the tree, so that 16 tokens compared are the whole prefix compared, and a poor hash costs time, never a wrong
 * answer. The domain is the request's: what one computed is found in its own domain alone, so that neither a count of
 * found tokens nor the time to the first one tells a tenant what another has asked. An adapter is its registry entry;
 * one whose files change gets another entry, and what else would change the weights behind an entry calls
 * el_prefix_purge.
 *
 * A page is shared whole and never written again: sequences write behind their last full page only, into pages of their
 * own. A sequence that has a page has those before it too.
 *
 * Where there are windowed pages (kv_layout.h), a page in the tree may have one of the same positions, and a prefix may
 * only be gone on with if the windowed pages of all that its next position sees are still there. A sequence gives a
 * windowed page back when the window has passed it; it is idle then, and as it matters only to those who part from the
 * sequence right behind it, such pages go before others as soon as they have more than one EL_PASSED_SHARE-th of what
 * idle pages have.
 * The last ones of a sequence, with which it or its next turn goes on, stay with the full page that they belong to.
 * A full page that has lost its windowed one is still part of longer prefixes. */
#ifndef EL_ENGINE_PREFIX_H
#define EL_ENGINE_PREFIX_H

#include "adapter/registry.h"
#include "engine/kv_pages.h"
#include "engine/tuning.h"
#include "model/model.h"

enum { EL_NO_PAGE = UINT32_MAX };

/* Whom a page is for. */
typedef struct el_prefix_owner {
  el_entry *adapter; /* NULL: the base */
  uint64_t domain;   /* of el_request */
  int base_tokens;   /* an activated adapter begins behind so many of the page's; 0: it has all of it */
} el_prefix_owner;

typedef struct el_prefix_page {
  el_prefix_owner owner;
  int32_t tokens[EL_PAGE_TOKENS];
  uint32_t parent;     /* the page before it; EL_NO_PAGE: it begins at position 0 */
  uint32_t n_children; /* in the tree */
  uint32_t refs;       /* running sequences that have it */
  uint32_t hash_next;  /* + 1; 0: none */
  uint32_t windowed;   /* that belongs to it, or EL_NO_PAGE; while it is in the tree */
  bool cached;         /* it is in the tree */
} el_prefix_page;

/* A list of idle pages; each is older than the next. */
typedef struct el_idle_link {
  uint32_t older, newer;
} el_idle_link;
typedef struct el_idle_pages {
  el_idle_link *links; /* of all pages, by number; those of idle ones count */
  uint32_t oldest, newest, n;
} el_idle_pages;

typedef struct el_windowed_page {
  uint32_t refs; /* running sequences that have it */
  uint32_t page; /* + 1: the page in the tree that it belongs to; 0: none */
  bool passed;   /* the window had passed it when it was given back */
} el_windowed_page;

typedef struct el_prefix {
  el_kv_pages *kv;
  bool on;
  el_prefix_page *pages; /* [n_pages] of all, by number */
  uint32_t *buckets;     /* [mask + 1] of page + 1 */
  uint32_t mask;         /* tests make it 0: then everything collides */
  uint32_t n_cached;     /* pages in the tree; kv->n_idle of them are used by nobody */
  el_idle_pages idle;    /* A page is used whenever one behind it is, so it is never older */

  el_kv_pages *windowed;            /* NULL: there are none */
  el_windowed_page *windowed_pages; /* of all, by number */
  el_idle_pages idle_windowed[2];   /* by `passed`; they share their links */
} el_prefix;

/* `kv` and `windowed` (NULL: there are no windowed pages) stay where they are. off: nothing is ever found, pages are
 * counted only. */
el_status el_prefix_new(el_kv_pages *kv, el_kv_pages *windowed, bool on, el_prefix *out, el_error *err);
void el_prefix_free(el_prefix *p);

/* Takes n pages for one sequence to write, or none and returns false. */
bool el_prefix_take(el_prefix *p, uint32_t *pages, int n);
/* A sequence lets go of its pages, in order: those in the tree become idle, if nobody else has them, the others free.
 */
void el_prefix_release(el_prefix *p, const uint32_t *pages, int n);

/* The page of `tokens` [EL_PAGE_TOKENS] behind `parent` (EL_NO_PAGE: at position 0), or EL_NO_PAGE. It is not taken. */
uint32_t el_prefix_find(const el_prefix *p, el_prefix_owner owner, uint32_t parent, const int32_t *tokens);
/* A sequence takes what was found. */
void el_prefix_use(el_prefix *p, uint32_t page);
/* A sequence has filled its page: puts it into the tree. If an equal one is there, the sequence gets that, and its own
 * is free: so sequences that compute the same at the same time end up with one copy. Returns the page that the sequence
 * has now. */
uint32_t el_prefix_insert(el_prefix *p, el_prefix_owner owner, uint32_t parent, const int32_t *tokens, uint32_t page);

/* Idle pages of any kind. */
uint32_t el_prefix_n_idle(const el_prefix *p);
/* Frees the idle page that is wanted least. There is one. */
void el_prefix_evict(el_prefix *p);
/* Frees all pages of an adapter, in every domain. Nobody runs with it. */
void el_prefix_purge(el_prefix *p, el_entry *adapter);

/* --- windowed pages (prefix_windowed.c) */

bool el_prefix_take_windowed(el_prefix *p, uint32_t *pages, int n);
/* passed: the window has, and the sequence goes on. */
void el_prefix_release_windowed(el_prefix *p, const uint32_t *pages, int n, bool passed);
/* A sequence takes the windowed page of a page in the tree, which has one. */
uint32_t el_prefix_use_windowed(el_prefix *p, uint32_t page);
/* A sequence has filled its windowed page too: it becomes that of the page, which el_prefix_insert has returned. If
 * there is one, the sequence gets that. Returns the one that it has now. */
uint32_t el_prefix_insert_windowed(el_prefix *p, uint32_t page, uint32_t windowed);
/* Frees the windowed page of a page that nobody has and that leaves the tree, if it has one. */
void el_prefix_drop_windowed(el_prefix *p, uint32_t page);
/* Frees the oldest windowed page that the window has passed, or else any idle one. There is one. */
void el_prefix_evict_windowed(el_prefix *p);

/* For prefix.c and prefix_windowed.c: a page becomes the newest of the idle ones; it is idle no longer. */
static inline void el_idle_add(el_idle_pages *idle, uint32_t page) {
  idle->links[page] = (el_idle_link){idle->newest, EL_NO_PAGE};
  *(idle->newest == EL_NO_PAGE ? &idle->oldest : &idle->links[idle->newest].newer) = page;
  idle->newest = page;
  idle->n++;
}

static inline void el_idle_remove(el_idle_pages *idle, uint32_t page) {
  const el_idle_link at = idle->links[page];
  *(at.older == EL_NO_PAGE ? &idle->oldest : &idle->links[at.older].newer) = at.newer;
  *(at.newer == EL_NO_PAGE ? &idle->newest : &idle->links[at.newer].older) = at.older;
  idle->n--;
}

#endif

#include "constraint/source.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* --------------------------------------------------------------------- checks */

static bool has_text(el_constraint_type type) {
  return type == EL_CONSTRAINT_JSON_SCHEMA || type == EL_CONSTRAINT_REGEX || type == EL_CONSTRAINT_GRAMMAR;
}

/* Adds to *bytes. False: too many bytes. */
static bool count_bytes(size_t *bytes, size_t more) {
  if (more > EL_MAX_CONSTRAINT_BYTES - *bytes) return false;
  *bytes += more;
  return true;
}

static el_status fail_source_too_long(el_error *err) {
  return el_fail(err, EL_ERR_TOO_LONG, "constraint: more than %d bytes", EL_MAX_CONSTRAINT_BYTES);
}

static el_status check_source_choices(const el_constraint_source *s, size_t *bytes, el_error *err) {
  if (!s->n_choices) return el_fail(err, EL_ERR_INVALID, "choice: there is nothing to choose from");
  if (s->n_choices > EL_MAX_CHOICES)
    return el_fail(err, EL_ERR_TOO_LONG, "choice: %zu texts, the limit is %d", s->n_choices, EL_MAX_CHOICES);
  for (size_t i = 0; i < s->n_choices; i++) {
    if (!s->choices[i] || !*s->choices[i]) return el_fail(err, EL_ERR_INVALID, "choice[%zu]: is empty", i);
    if (!count_bytes(bytes, strlen(s->choices[i]))) return fail_source_too_long(err);
  }
  return EL_OK;
}

static bool starts_with_a_trigger(const el_constraint_source *s, const char *begin) {
  for (size_t i = 0; i < s->n_triggers; i++)
    if (!strncmp(begin, s->triggers[i], strlen(s->triggers[i]))) return true;
  return s->n_triggers == 0;
}

static el_status check_tags(const el_constraint_source *s, size_t *bytes, el_error *err) {
  if (!s->n_tags) return el_fail(err, EL_ERR_INVALID, "structural tags: there are none");
  if (s->n_tags > EL_MAX_TAGS || s->n_triggers > EL_MAX_TAGS)
    return el_fail(err, EL_ERR_TOO_LONG, "structural tags: %zu tags and %zu triggers, the limit is %d", s->n_tags,
                   s->n_triggers, EL_MAX_TAGS);
  for (size_t i = 0; i < s->n_triggers; i++) {
    if (!s->triggers[i] || !*s->triggers[i])
      return el_fail(err, EL_ERR_INVALID, "structural tags: triggers[%zu] is empty", i);
    if (!count_bytes(bytes, strlen(s->triggers[i]))) return fail_source_too_long(err);
  }
  for (size_t i = 0; i < s->n_tags; i++) {
    const el_constraint_tag *t = &s->tags[i];
    if (!t->begin || !t->end) return el_fail(err, EL_ERR_INVALID, "structural tags: tags[%zu] has no begin or end", i);
    if (t->content == EL_CONSTRAINT_TAGS || t->content == EL_CONSTRAINT_CHOICE)
      return el_fail(err, EL_ERR_UNSUPPORTED, "structural tags: tags[%zu] holds a choice, or tags", i);
    if (has_text(t->content) && !t->text)
      return el_fail(err, EL_ERR_INVALID, "structural tags: tags[%zu] has no text", i);
    if (!starts_with_a_trigger(s, t->begin))
      return el_fail(err, EL_ERR_INVALID, "structural tags: tags[%zu] does not begin with any trigger", i);
    if (!count_bytes(bytes, strlen(t->begin)) || !count_bytes(bytes, strlen(t->end)) ||
        (has_text(t->content) && !count_bytes(bytes, t->len)))
      return fail_source_too_long(err);
  }
  return EL_OK;
}

el_status el_source_check(const el_constraint_source *s, const el_tokenizer *t, el_error *err) {
  size_t bytes = 0;
  el_status status = EL_OK;
  if (s->n_shown_tokens > EL_MAX_SHOWN_TOKENS)
    return el_fail(err, EL_ERR_TOO_LONG, "constraint: %zu shown tokens, the limit is %d", s->n_shown_tokens,
                   EL_MAX_SHOWN_TOKENS);
  for (size_t i = 0; i < s->n_shown_tokens; i++)
    if (s->shown_tokens[i] < 0 || s->shown_tokens[i] >= el_tokenizer_n_vocab(t))
      return el_fail(err, EL_ERR_INVALID, "constraint: shown token %d is not in 0 to %d", (int)s->shown_tokens[i],
                     (int)el_tokenizer_n_vocab(t) - 1);
  if (has_text(s->type)) {
    if (!s->text || !s->len) return el_fail(err, EL_ERR_INVALID, "constraint: is empty");
    if (!count_bytes(&bytes, s->len)) return fail_source_too_long(err);
  }
  if (s->type == EL_CONSTRAINT_CHOICE) status = check_source_choices(s, &bytes, err);
  if (s->type == EL_CONSTRAINT_TAGS) status = check_tags(s, &bytes, err);
  return status;
}

/* ------------------------------------------------------------------- grammars */

static el_expr parse_text(el_grammar *g, el_constraint_type type, const char *text, size_t len) {
  switch (type) {
    case EL_CONSTRAINT_JSON_OBJECT: return el_grammar_json_object(g);
    case EL_CONSTRAINT_JSON_SCHEMA: return el_schema_parse(g, text, len);
    case EL_CONSTRAINT_REGEX: return el_regex_parse(g, text, len, 0);
    case EL_CONSTRAINT_GRAMMAR: return el_gbnf_parse(g, text, len);
    case EL_CONSTRAINT_CHOICE:
    case EL_CONSTRAINT_TAGS: break;
  }
  return el_grammar_fail(g, EL_ERR_INVALID, "constraint: type %d is not known", (int)type);
}

static el_expr parse_choices(el_grammar *g, const el_constraint_source *s) {
  el_literal *all = malloc(sizeof *all * s->n_choices);
  if (!all) return el_grammar_fail(g, EL_ERR_NO_MEMORY, "grammar: out of memory");
  for (size_t i = 0; i < s->n_choices; i++) all[i] = (el_literal){s->choices[i], strlen(s->choices[i])};
  el_expr choice = el_grammar_one_of(g, all, s->n_choices);
  free(all);
  return choice;
}

/* A tag without the first `skip` bytes of its begin text. */
static el_expr parse_tag(el_grammar *g, const el_constraint_tag *t, size_t skip) {
  el_expr parts[3];
  parts[0] = el_grammar_text(g, t->begin + skip);
  parts[1] = parse_text(g, t->content, t->text, t->len);
  parts[2] = el_grammar_text(g, t->end);
  return el_grammar_sequence(g, parts, 3);
}

/* What follows trigger i up to the end of a tag: any tag that begins with it and with no longer trigger. */
static el_expr tags_after(el_grammar *g, const el_constraint_source *s, size_t i, const el_rule *contents) {
  size_t len = strlen(s->triggers[i]), n = 0;
  el_expr *all = malloc(sizeof *all * s->n_tags);
  if (!all) return el_grammar_fail(g, EL_ERR_NO_MEMORY, "grammar: out of memory");
  for (size_t k = 0; k < s->n_tags && !el_grammar_failed(g); k++) {
    const char *begin = s->tags[k].begin;
    if (strncmp(begin, s->triggers[i], len)) continue;
    /* The rest of a tag is a rule, as several triggers may lead to it. */
    all[n++] = el_grammar_pair(g, el_grammar_text(g, begin + len), el_grammar_use(g, contents[k]));
  }
  el_expr choice = el_grammar_alternatives(g, all, n);
  free(all);
  return choice;
}

/* Free text and tags in turn:  text = until(triggers) -> tag text.  `last`: it ends with a tag. */
static el_expr parse_triggered(el_grammar *g, const el_constraint_source *s) {
  size_t n = s->n_triggers;
  el_literal *stops = malloc(sizeof *stops * n);
  el_expr *tags = malloc(sizeof *tags * n), *follow = malloc(sizeof *follow * n), all = EL_EXPR_NONE;
  el_rule *contents = malloc(sizeof *contents * s->n_tags);
  if (!stops || !tags || !follow || !contents) {
    el_grammar_fail(g, EL_ERR_NO_MEMORY, "grammar: out of memory");
    goto end;
  }
  for (size_t k = 0; k < s->n_tags; k++) {
    contents[k] = el_grammar_add_rule(g, "tag");
    el_grammar_define(g, contents[k], parse_tag(g, &s->tags[k], strlen(s->tags[k].begin)));
  }
  for (size_t i = 0; i < n; i++) {
    stops[i] = (el_literal){s->triggers[i], strlen(s->triggers[i])};
    tags[i] = tags_after(g, s, i, contents);
  }
  if (s->stop_after_first) {
    all = el_grammar_until(g, stops, tags, n, !s->at_least_one);
    goto end;
  }
  el_rule rest = el_grammar_add_rule(g, "text"); /* what follows the first tag */
  for (size_t i = 0; i < n; i++) follow[i] = el_grammar_pair(g, tags[i], el_grammar_use(g, rest));
  el_grammar_define(g, rest, el_grammar_until(g, stops, follow, n, true));
  all = s->at_least_one ? el_grammar_until(g, stops, follow, n, false) : el_grammar_use(g, rest);
end:
  free(stops);
  free(tags);
  free(follow);
  free(contents);
  return all;
}

static el_expr parse_tags(el_grammar *g, const el_constraint_source *s) {
  if (s->n_triggers) return parse_triggered(g, s);
  el_expr *all = malloc(sizeof *all * s->n_tags);
  if (!all) return el_grammar_fail(g, EL_ERR_NO_MEMORY, "grammar: out of memory");
  for (size_t k = 0; k < s->n_tags; k++) all[k] = parse_tag(g, &s->tags[k], 0);
  el_expr tag = el_grammar_alternatives(g, all, s->n_tags);
  free(all);
  return el_grammar_repeat(g, tag, s->at_least_one ? 1 : 0, s->stop_after_first ? 1 : EL_UNBOUNDED);
}

el_expr el_source_parse(el_grammar *g, const el_constraint_source *s) {
  switch (s->type) {
    case EL_CONSTRAINT_CHOICE: return parse_choices(g, s);
    case EL_CONSTRAINT_TAGS: return parse_tags(g, s);
    case EL_CONSTRAINT_JSON_OBJECT:
    case EL_CONSTRAINT_JSON_SCHEMA:
    case EL_CONSTRAINT_REGEX:
    case EL_CONSTRAINT_GRAMMAR: break;
  }
  return parse_text(g, s->type, s->text, s->len);
}

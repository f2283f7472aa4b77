/* What special tokens do, as far as their texts tell. Files name one or two of them by id, while a
 * model may have been trained to end its answers with another one. Types are often wrong: a token
 * that steers the model may be listed as user-defined, and would be made from any text. The texts
 * are those that llama.cpp knows.
 *
 * Only special tokens are looked at: ordinary text that reads like one of these does nothing. */
#include "tokenizer/vocab.h"

/* Ends of a turn, a text, a file. */
static const char *const ENDS[] = {"<|eot_id|>",
                                   "<|im_end|>",
                                   "<|end|>",
                                   "<end_of_turn>",
                                   "<|endoftext|>",
                                   "<|end_of_text|>",
                                   "</s>",
                                   "<|eom_id|>",
                                   "<EOT>",
                                   "_<EOT>",
                                   "[EOT]",
                                   "[EOS]",
                                   "<eos>",
                                   "<|return|>",
                                   "<|call|>",
                                   "<|flush|>",
                                   "<|calls|>",
                                   "<turn|>",
                                   "<|tool_response>",
                                   "[e~[",
                                   "<|fim_pad|>",
                                   "<fim-pad>",
                                   "<fim_pad>",
                                   "<PAD>",
                                   "[PAD]",
                                   "<|fim_repo|>",
                                   "<|repo_name|>",
                                   "<fim-repo>",
                                   "<REPO>",
                                   "<reponame>",
                                   "<|file_sep|>",
                                   "<end_of_utterance>",
                                   "<｜end▁of▁sentence｜>"};

/* Marks around a gap to fill in. */
static const char *const BEFORE_GAP[] = {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>",
                                         "<PRE>",          "▁<PRE>",       "<|prefix|>",   "<|code_prefix|>"};
static const char *const BEHIND_GAP[] = {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>",
                                         "<SUF>",          "▁<SUF>",       "<|suffix|>",   "<|code_suffix|>"};
static const char *const IN_GAP[] = {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>",
                                     "<MID>",          "▁<MID>",       "<|middle|>",   "<|code_middle|>"};
static const char *const GAP_PADS[] = {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"};
static const char *const REPOSITORIES[] = {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"};
static const char *const SEPARATORS[] = {"<|file_sep|>"};

/* The channels of an answer: without them, reasoning and answer could not be told apart. */
static const char *const CHANNELS[] = {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"};

#define IS_ONE_OF(s, list) is_listed_name(s, list, sizeof list / sizeof *list)

static bool is_listed_name(el_str s, const char *const *list, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (el_str_eq(s, list[i])) return true;
  return false;
}

/* If one of these is an end, <|end|> ends only a section of an answer; if the other is there, </s>
 * is mark-up. */
static void correct_ends(el_vocab *v) {
  int32_t end = -1, s = -1;
  bool returns = false, calls = false, flushes = false, other_s = false;
  for (uint32_t i = 0; i < v->n; i++) {
    if (!(v->flags[i] & EL_TOKEN_EOG)) continue;
    el_str text = el_vocab_bytes(v, i);
    if (el_str_eq(text, "<|end|>")) end = (int32_t)i;
    if (el_str_eq(text, "</s>")) s = (int32_t)i;
    returns |= el_str_eq(text, "<|return|>");
    calls |= el_str_eq(text, "<|call|>") || el_str_eq(text, "<|calls|>");
    flushes |= el_str_eq(text, "<|flush|>");
    other_s |= el_str_eq(text, "<|tool_response>");
  }
  if (end >= 0 && calls && (returns || flushes)) v->flags[end] = EL_TOKEN_CONTROL | EL_TOKEN_SHOWN;
  if (s >= 0 && other_s && s != v->eos) v->flags[s] = EL_TOKEN_CONTROL;
}

/* Whether a token is a mark of this kind around gaps; the first one is taken if the file names
 * none. */
static bool is_gap(el_vocab *v, uint32_t id, el_fim which, const char *const *list, size_t n) {
  if (!is_listed_name(el_vocab_bytes(v, id), list, n)) return false;
  if (v->fim[which] < 0) v->fim[which] = (int32_t)id;
  return true;
}
#define IS_GAP(v, id, which, list) is_gap(v, id, which, list, sizeof list / sizeof *list)

void el_vocab_find_role(el_vocab *v, uint32_t id) {
  unsigned char *flags = &v->flags[id - v->first];
  if (!(*flags & (EL_TOKEN_CONTROL | EL_TOKEN_USER))) return;
  el_str s = el_vocab_bytes(v, id);
  unsigned char stay = *flags & (EL_TOKEN_EOG | EL_TOKEN_STRIP | EL_TOKEN_STRIP_BEFORE);
  bool gap = IS_GAP(v, id, EL_FIM_PREFIX, BEFORE_GAP) || IS_GAP(v, id, EL_FIM_SUFFIX, BEHIND_GAP) ||
             IS_GAP(v, id, EL_FIM_MIDDLE, IN_GAP);
  if (!gap) /* these end an answer, too */
    (void)(IS_GAP(v, id, EL_FIM_PAD, GAP_PADS) || IS_GAP(v, id, EL_FIM_REPOSITORY, REPOSITORIES) ||
           IS_GAP(v, id, EL_FIM_SEPARATOR, SEPARATORS));
  if (IS_ONE_OF(s, ENDS))
    *flags = stay | EL_TOKEN_CONTROL | EL_TOKEN_EOG;
  else if (gap)
    *flags = stay | EL_TOKEN_CONTROL;
  else if (IS_ONE_OF(s, CHANNELS))
    *flags = stay | EL_TOKEN_CONTROL | EL_TOKEN_SHOWN;
}

void el_vocab_find_roles(el_vocab *v) {
  for (uint32_t i = 0; i < v->n; i++) el_vocab_find_role(v, i);
  correct_ends(v);
}

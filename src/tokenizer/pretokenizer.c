/* A pre-tokenizer is a list of patterns. Each cuts every piece that the one before has left into its matches and what
 * lies between them; inside a pattern, a piece's end is the text's end. So `smollm` first makes each digit a piece and
 * then applies GPT-2's pattern to each part between digits on its own.
 *
 * Names and patterns are those of llama.cpp, whose names they are, with these changes that keep the result:
 * - \s is spelled out: PCRE2's has U+180E, which Unicode no longer counts as white space;
 * - letters other than a-z are [^\P{L}a-z], one class in place of a group with a lookahead, and white space at the end
 * is matched without trying again in its middle: no pattern takes more than a few steps for each character. Which
 * characters are letters, numbers, ... is up to PCRE2's Unicode tables (Unicode 14 in version 10.42): a character that
 * is newer than these counts as a symbol. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/pretokenizer.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"

/* --- the patterns */

/* White space, to stand inside brackets. */
#define WS "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
/* All of a run of white space but the last one, which goes with what follows; at the end all of it. */
#define SPACES "[" WS "]+(?![^" WS "])|[" WS "]+"
#define LINES_AND_SPACES "[" WS "]*[\\r\\n]+|" SPACES
#define CONTRACTION "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SYMBOLS " ?[^" WS "\\p{L}\\p{N}]+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|" SYMBOLS "|" SPACES
#define LLAMA3 CONTRACTION "|" WORD "|\\p{N}{1,3}|" SYMBOLS "[\\r\\n]*|" LINES_AND_SPACES
#define QWEN2 CONTRACTION "|" WORD "|\\p{N}|" SYMBOLS "[\\r\\n]*|" LINES_AND_SPACES
/* A word that begins with upper case, or has it alone; letters beyond ASCII count as both. */
#define NOT_LOWER "[^\\P{L}a-z]"
#define NOT_UPPER "[^\\P{L}A-Z]"
#define CAMEL(end) \
  "[^\\r\\n\\p{L}\\p{N}]?" NOT_LOWER "*" NOT_UPPER "+" end "|[^\\r\\n\\p{L}\\p{N}]?" NOT_LOWER "+" NOT_UPPER "*" end
#define CAMEL_REST SYMBOLS "[\\r\\n/]*|" LINES_AND_SPACES
/* U+0800 to U+9FA5 without the white space there, and Hangul. */
#define DEEPSEEK_ASIA                                                                                                  \
  "[\\x{800}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}" \
  "\\x{3001}-\\x{9fa5}\\x{ac00}-\\x{d7ff}]+"
#define ASCII_PUNCTUATION "!-/:-@\\[-`{-~"
#define SENTENCE " ?[^(" WS "|.,!?…。，、।۔،)]+"

static const char *const P_GPT2[] = {GPT2, NULL};
static const char *const P_SMOLLM[] = {"\\p{N}", GPT2, NULL};
static const char *const P_DEFAULT[] = {"[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]", NULL};
static const char *const P_FALCON[] = {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]", NULL};
static const char *const P_LLAMA3[] = {LLAMA3, NULL};
static const char *const P_QWEN2[] = {QWEN2, NULL};
static const char *const P_QWEN35[] = {CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^" WS
                                                   "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" LINES_AND_SPACES,
                                       NULL};
static const char *const P_GPT4O[] = {CAMEL("(?:" CONTRACTION ")?") "|\\p{N}{1,3}|" CAMEL_REST, NULL};
static const char *const P_TEKKEN[] = {CAMEL("") "|\\p{N}|" CAMEL_REST, NULL};
static const char *const P_DEEPSEEK_LLM[] = {
    "[\r\n]",
    "[" WS
    "]?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-"
    "ὗὙὛὝὟ-\\x{1f7d}ᾀ-ᾴᾶ-ᾼ\\x{1fbe}ῂ-ῄῆ-ῌῐ-\\x{1fd3}"
    "ῖ-\\x{1fdb}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\\x{2126}ℨ\\x{212a}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-"
    "ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
    "[" WS "]?[!-/:-~！-／：-～‘-‟、。]+",
    "[" WS "]++(?:\\z|(*SKIP)(*FAIL))",
    DEEPSEEK_ASIA,
    "\\p{N}+",
    NULL};
static const char *const P_DEEPSEEK_CODER[] = {"[\r\n]",      "[" WS "]?\\p{L}+", "[" WS "]?\\p{P}+",
                                               DEEPSEEK_ASIA, "\\p{N}",           NULL};
static const char *const P_DEEPSEEK3[] = {"\\p{N}{1,3}", "[一-龥\\x{3040}-\\x{30ff}]+",
                                          "[" ASCII_PUNCTUATION
                                          "][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
                                          "?[\\p{P}\\p{S}]+[\\r\\n]*|" LINES_AND_SPACES,
                                          NULL};
static const char *const P_BLOOM[] = {SENTENCE, NULL};
static const char *const P_VIKING[] = {SENTENCE, "\\p{N}", NULL};
static const char *const P_BAILING[] = {
    "'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|" WORD "|\\p{N}|" SYMBOLS "[\\r\\n]*|[" WS "]*[\\r\\n]|" SPACES, NULL};
static const char *const P_SEED[] = {CONTRACTION "|" WORD "|\\p{N}| ?[^" WS "\\p{L}\\p{N}]+|" LINES_AND_SPACES, NULL};

enum { IGNORE_MERGES = 1, ADD_BOS = 2 };

static const struct {
  const char *name;
  const char *const *patterns;
  int traits;
} KNOWN[] = {
    {"smollm", P_SMOLLM, 0},
    {"gpt-2", P_GPT2, 0},
    {"llama-bpe", P_LLAMA3, IGNORE_MERGES | ADD_BOS},
    {"llama3", P_LLAMA3, IGNORE_MERGES | ADD_BOS},
    {"llama-v3", P_LLAMA3, IGNORE_MERGES | ADD_BOS},
    {"qwen2", P_QWEN2, 0},
    {"default", P_DEFAULT, 0},
    {"bailingmoe", P_BAILING, 0},
    {"bailingmoe2", P_BAILING, 0},
    {"bloom", P_BLOOM, 0},
    {"chatglm-bpe", P_LLAMA3, 0},
    {"codeshell", P_SMOLLM, 0},
    {"command-r", P_SMOLLM, 0},
    {"dbrx", P_LLAMA3, 0},
    {"deepseek-coder", P_DEEPSEEK_CODER, 0},
    {"deepseek-llm", P_DEEPSEEK_LLM, 0},
    {"deepseek-r1-qwen", P_QWEN2, 0},
    {"deepseek-v3", P_DEEPSEEK3, 0},
    {"exaone", P_SMOLLM, 0},
    {"exaone4", P_GPT2, 0},
    {"falcon", P_FALCON, 0},
    {"falcon3", P_LLAMA3, IGNORE_MERGES | ADD_BOS},
    {"glm4", P_LLAMA3, IGNORE_MERGES},
    {"gpt-4o", P_GPT4O, 0},
    {"gpt3-finnish", P_BLOOM, 0},
    {"granite-docling", P_GPT2, 0},
    {"hunyuan", P_QWEN2, 0},
    {"hunyuan-dense", P_DEEPSEEK3, 0},
    {"jais", P_GPT2, 0},
    {"lfm2", P_LLAMA3, IGNORE_MERGES | ADD_BOS},
    {"llama4", P_GPT4O, 0},
    {"megrez", P_QWEN2, 0},
    {"minerva-7b", P_SMOLLM, 0},
    {"mpt", P_GPT2, 0},
    {"olmo", P_GPT2, 0},
    {"phi-2", P_GPT2, 0},
    {"pixtral", P_LLAMA3, IGNORE_MERGES | ADD_BOS},
    {"poro-chat", P_BLOOM, 0},
    {"qwen35", P_QWEN35, 0},
    {"refact", P_SMOLLM, 0},
    {"seed-coder", P_SEED, 0},
    {"smaug-bpe", P_LLAMA3, 0},
    {"stablelm2", P_QWEN2, 0},
    {"starcoder", P_SMOLLM, 0},
    {"tekken", P_TEKKEN, IGNORE_MERGES | ADD_BOS},
    {"trillion", P_GPT2, 0},
    {"viking", P_VIKING, 0},
};
enum { N_KNOWN = sizeof KNOWN / sizeof *KNOWN };

/* --- compiling */

struct el_pretokenizer {
  pcre2_code *patterns[EL_MAX_PATTERNS];
  int n;
  pcre2_match_context *limits;
};

/* For one match, which may be a run as long as the text. The named patterns need a few steps for each character of it,
 * so these limits only stop patterns that are worse. */
enum { MATCH_STEPS = 1 << 30, MATCH_HEAP_KIB = 64 << 10 };

static el_status compile(const char *pattern, pcre2_code **out, el_error *err) {
  int code;
  PCRE2_SIZE at;
  *out = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
  if (*out) {
    pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); /* where there is no JIT, PCRE2 interprets */
    return EL_OK;
  }
  if (code == PCRE2_ERROR_HEAP_FAILED) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for a pre-tokenizer");
  char why[128];
  pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
  return el_fail(err, EL_ERR_UNSUPPORTED, "pattern \"%.200s\": %s at offset %zu", pattern, why, at);
}

el_status el_pretokenizer_compile(const char *const *patterns, int n, el_pretokenizer **out, el_error *err) {
  if (n > EL_MAX_PATTERNS) return el_fail(err, EL_ERR_INVALID, "%d patterns; the limit is %d", n, EL_MAX_PATTERNS);
  el_pretokenizer *p = calloc(1, sizeof *p);
  if (!p || !(p->limits = pcre2_match_context_create(NULL))) {
    free(p);
    return el_fail(err, EL_ERR_NO_MEMORY, "no memory for a pre-tokenizer");
  }
  pcre2_set_match_limit(p->limits, MATCH_STEPS);
  pcre2_set_heap_limit(p->limits, MATCH_HEAP_KIB);
  for (; p->n < n; p->n++) {
    el_status status = compile(patterns[p->n], &p->patterns[p->n], err);
    if (status) {
      el_pretokenizer_close(p);
      return status;
    }
  }
  *out = p;
  return EL_OK;
}

el_status el_pretokenizer_open(el_str name, el_pretokenizer **out, el_pretokenizer_traits *traits, el_error *err) {
  for (int i = 0; i < N_KNOWN; i++) {
    if (!el_str_eq(name, KNOWN[i].name)) continue;
    int n = 0;
    while (KNOWN[i].patterns[n]) n++;
    el_status status = el_pretokenizer_compile(KNOWN[i].patterns, n, out, err);
    if (!status)
      *traits = (el_pretokenizer_traits){(KNOWN[i].traits & IGNORE_MERGES) != 0, (KNOWN[i].traits & ADD_BOS) != 0};
    return status;
  }
  el_buf list = {0};
  for (int i = 0; i < N_KNOWN; i++) el_buf_printf(&list, "%s%s", i ? ", " : "", KNOWN[i].name);
  char show[EL_SHOW];
  el_fail(err, EL_ERR_UNSUPPORTED, "tokenizer.ggml.pre is '%s', which is not known; known are: %s",
          el_str_show(name, show, sizeof show), list.data ? list.data : "");
  el_buf_free(&list);
  return EL_ERR_UNSUPPORTED;
}

void el_pretokenizer_close(el_pretokenizer *p) {
  if (!p) return;
  for (int i = 0; i < p->n; i++) pcre2_code_free(p->patterns[i]);
  pcre2_match_context_free(p->limits);
  free(p);
}

/* --- splitting */

typedef struct split_run {
  const el_pretokenizer *p;
  pcre2_match_data *match[EL_MAX_PATTERNS]; /* one a pattern: they nest */
  el_piece_fn fn;
  void *user;
  const char *text; /* the whole, to say where */
  el_error *err;
} split_run;

static el_status too_hard(const split_run *r, const char *at, int code) {
  char why[128];
  pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
  if (code == PCRE2_ERROR_NOMEMORY) return el_fail(r->err, EL_ERR_NO_MEMORY, "no memory to cut the text into pieces");
  return el_fail(r->err, EL_ERR_INVALID, "the text cannot be cut into pieces at byte %zu: %s", (size_t)(at - r->text),
                 why);
}

/* Valid UTF-8, by the patterns from number `stage` on. */
static el_status split(split_run *r, int stage, const char *s, size_t len) {
  if (stage == r->p->n) return r->fn(r->user, s, len);
  const uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
  pcre2_match_data *match = r->match[stage];
  const pcre2_code *pattern = r->p->patterns[stage];
  size_t done = 0;
  while (done < len) {
    int code = pcre2_match(pattern, (PCRE2_SPTR)s, len, done, options, match, r->p->limits);
    if (code == PCRE2_ERROR_JIT_STACKLIMIT)
      code = pcre2_match(pattern, (PCRE2_SPTR)s, len, done, options | PCRE2_NO_JIT, match, r->p->limits);
    if (code == PCRE2_ERROR_NOMATCH) break;
    if (code < 0) return too_hard(r, s + done, code);
    size_t begin = pcre2_get_ovector_pointer(match)[0], end = pcre2_get_ovector_pointer(match)[1];
    el_status status = begin > done ? split(r, stage + 1, s + done, begin - done) : EL_OK;
    if (!status) status = split(r, stage + 1, s + begin, end - begin);
    if (status) return status;
    done = end;
  }
  return done < len ? split(r, stage + 1, s + done, len - done) : EL_OK;
}

/* How many bytes from s on are valid UTF-8, or, if the first is not, how many are not. */
static size_t same_validity(const char *s, size_t len, bool *valid) {
  size_t i = 0;
  *valid = el_utf8_length(s, len) > 0;
  while (i < len) {
    if (*valid && (signed char)s[i] >= 0) {
      i++;
      continue;
    }
    int n = el_utf8_length(s + i, len - i);
    if ((n > 0) != *valid) break;
    i += n > 0 ? (size_t)n : 1;
  }
  return i;
}

el_status el_pretokenizer_split(const el_pretokenizer *p, const char *text, size_t len, el_piece_fn fn, void *user,
                                el_error *err) {
  split_run r = {.p = p, .fn = fn, .user = user, .text = text, .err = err};
  el_status status = EL_OK;
  for (int i = 0; i < p->n && !status; i++) {
    r.match[i] = pcre2_match_data_create(1, NULL);
    if (!r.match[i]) status = el_fail(err, EL_ERR_NO_MEMORY, "no memory to cut the text into pieces");
  }
  for (size_t at = 0; at < len && !status;) {
    bool valid;
    size_t n = same_validity(text + at, len - at, &valid);
    status = valid ? split(&r, 0, text + at, n) : fn(user, text + at, n);
    at += n;
  }
  for (int i = 0; i < p->n; i++) pcre2_match_data_free(r.match[i]);
  return status;
}

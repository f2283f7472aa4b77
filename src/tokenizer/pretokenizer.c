/* A pre-tokenizer is a list of patterns. Each pattern cuts every piece that the one before has left
 * into its matches and what lies between them; for a pattern, the end of a piece is the end of the
 * text. So `smollm` first makes each digit a piece and then applies GPT-2's pattern to each stretch
 * between digits separately.
 *
 * Names and patterns are those of llama.cpp, with these changes that keep the result:
 * - \s is spelled out: PCRE2's has U+180E, which Unicode no longer counts as white space;
 * - white space at the end is matched without trying again in its middle, and a repetition inside a
 *   repetition is one class: no pattern takes more than a few steps for each character;
 * - digits that are grouped from the right are counted here, as a lookahead for the end of their
 * run
 *   would look at all of it each time.
 *
 * Where the pattern that the models were trained with tells upper from lower case in all scripts
 * (CAMEL below), this one does too, while llama.cpp's knows case only in ASCII. Which characters
 * are letters, numbers and so on depends on PCRE2's Unicode tables (Unicode 14 in version 10.42): a
 * newer character counts as a symbol. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/pretokenizer.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"

/* --- the patterns */

/* Put before a pattern for digits: its matches are cut into groups of three from the right. */
#define FROM_THE_RIGHT "#"
/* White space, for use inside brackets. */
#define WS "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
/* All of a run of white space but the last character, which goes with what follows; at the end of
 * the text, all of it. */
#define SPACES "[" WS "]+(?![^" WS "])|[" WS "]+"
#define LINES_AND_SPACES "[" WS "]*[\\r\\n]+|" SPACES
#define CONTRACTION "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SYMBOLS " ?[^" WS "\\p{L}\\p{N}]+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|" SYMBOLS "|" SPACES
#define LLAMA3 CONTRACTION "|" WORD "|\\p{N}{1,3}|" SYMBOLS "[\\r\\n]*|" LINES_AND_SPACES
#define QWEN2 CONTRACTION "|" WORD "|\\p{N}|" SYMBOLS "[\\r\\n]*|" LINES_AND_SPACES
/* A word that begins with upper case, or has only upper case; letters without case, and marks,
 * count as both. */
#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define CAMEL_OF(upper, lower, end) \
  "[^\\r\\n\\p{L}\\p{N}]?" upper "*" lower "+" end "|[^\\r\\n\\p{L}\\p{N}]?" upper "+" lower "*" end
#define CAMEL(end) CAMEL_OF("[" UPPER "]", "[" LOWER "]", end)
#define CAMEL_REST SYMBOLS "[\\r\\n/]*|" LINES_AND_SPACES
#define MAYBE_CONTRACTION "(?:" CONTRACTION ")?"
/* The same without Chinese characters, which are words of their own: what remains of all
 * classes. */
#define NEITHER "[^\\p{sc:Han}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}"
#define KIMI                                                              \
  "\\p{sc:Han}+|" CAMEL_OF(NEITHER "\\p{Ll}]", NEITHER "\\p{Lu}\\p{Lt}]", \
                           MAYBE_CONTRACTION) "|\\p{N}{1,3}|" SYMBOLS "[\\r\\n]*|" LINES_AND_SPACES
/* The letters that DeepSeek lists, for use inside brackets: Latin, Greek, Cyrillic and a few
 * more. */
#define DEEPSEEK_LETTERS                                                                                         \
  "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}"                \
  "\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}" \
  "\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}"     \
  "\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}"              \
  "\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}"              \
  "\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}"      \
  "\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}"     \
  "\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}"      \
  "\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}"                \
  "\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}"      \
  "\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}"               \
  "\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}"              \
  "\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}"        \
  "\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"
/* U+0800 to U+9FA5 without the white space in it, and Hangul. */
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
#define GPT4O CAMEL(MAYBE_CONTRACTION) "|\\p{N}{1,3}|" CAMEL_REST
static const char *const P_GPT4O[] = {GPT4O, NULL};
static const char *const P_TEKKEN[] = {CAMEL("") "|\\p{N}|" CAMEL_REST, NULL};
static const char *const P_DEEPSEEK_LLM[] = {"[\r\n]",
                                             "[" WS "]?[" DEEPSEEK_LETTERS "]+",
                                             "[" WS "]?[!-/:-~！-／：-～‘-‟、。]+",
                                             "[" WS "]++(?:\\z|(*SKIP)(*FAIL))",
                                             DEEPSEEK_ASIA,
                                             "\\p{N}+",
                                             NULL};
static const char *const P_DEEPSEEK_CODER[] = {"[\r\n]",      "[" WS "]?\\p{L}+", "[" WS "]?\\p{P}+",
                                               DEEPSEEK_ASIA, "\\p{N}",           NULL};
#define DEEPSEEK3 "[" ASCII_PUNCTUATION "][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"
#define HAN_AND_KANA "[一-龥\\x{3040}-\\x{30ff}]+"
static const char *const P_DEEPSEEK3[] = {"\\p{N}{1,3}", HAN_AND_KANA, DEEPSEEK3 "[\\r\\n]*|" LINES_AND_SPACES, NULL};
static const char *const P_SPARK[] = {"\\p{N}{1,3}", HAN_AND_KANA, DEEPSEEK3 "|[\\r\\n]|" SPACES, "\\p{N}", NULL};
static const char *const P_YOUTU[] = {
    "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" HAN_AND_KANA,
    CAMEL(MAYBE_CONTRACTION) "|\\p{N}|" CAMEL_REST, NULL};
static const char *const P_TINY_AYA[] = {FROM_THE_RIGHT "\\p{N}+", GPT4O, NULL};
static const char *const P_SUPERBPE[] = {"\\p{N}+", FROM_THE_RIGHT "[0-9]+", NULL};
/* Scripts of East and South East Asia. */
static const char *const P_AFMOE[] = {
    FROM_THE_RIGHT "\\p{N}+",
    "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}\\x{ff65}-\\x{"
    "ff9f}"
    "\\x{2f00}-\\x{2fdf}\\x{e40}-\\x{e7f}\\x{e80}-\\x{eff}\\x{1780}-\\x{17ff}\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}"
    "\\x{a9e0}-\\x{a9ff}\\x{ac00}-\\x{d7af}\\x{1100}-\\x{11ff}]+",
    DEEPSEEK3 "[\\r\\n]*|" LINES_AND_SPACES, NULL};
static const char *const P_KIMI[] = {KIMI, NULL};
static const char *const P_BLOOM[] = {SENTENCE, NULL};
static const char *const P_VIKING[] = {SENTENCE, "\\p{N}", NULL};
static const char *const P_BAILING[] = {
    "'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|" WORD "|\\p{N}|" SYMBOLS "[\\r\\n]*|[" WS "]*[\\r\\n]|" SPACES, NULL};
static const char *const P_SEED[] = {CONTRACTION "|" WORD "|\\p{N}| ?[^" WS "\\p{L}\\p{N}]+|" LINES_AND_SPACES, NULL};

static const char *const P_MINICPM5[] = {"\\p{N}{1,3}",
                                         CONTRACTION "|" WORD "|\\p{N}+|" SYMBOLS "[\\r\\n]*|" LINES_AND_SPACES, NULL};
static const char *const P_UFAKZEKA[] = {WORD "|\\p{N}|" SYMBOLS "[\\r\\n]*|" LINES_AND_SPACES, NULL};
static const char *const P_LAGUNA[] = {"[^\\n]+|\\n+", QWEN2, NULL};
/* White space in powers of two. */
#define OF(n) "[" WS "]{" n "}(?![^" WS "])|"
static const char *const P_JAIS2[] = {CONTRACTION "|" WORD "|\\p{N}{1,3}|" SYMBOLS "[\\r\\n]*|[" WS
                                                  "]*[\\r\\n]+|" OF("512") OF("256") OF("128") OF("64") OF("32")
                                                      OF("16") OF("8") OF("4") OF("1,2") "[" WS "]",
                                      NULL};
/* Words with a space between them are one piece. */
static const char *const P_EXAONE_MOE[] = {CONTRACTION
                                           "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}(?:[\\p{L}\\p{M}]++| \\p{L})*+|\\p{N}|" SYMBOLS
                                           "[\\r\\n/]?|[" WS "]*[\\r\\n]|" SPACES,
                                           NULL};
static const char *const P_CHAMELEON[] = {"<sentinel:[0-9]+>",
                                          "IMGIMG[A-I]{1,4}Z",
                                          "[\\t\\n]|    |  ",
                                          "\\p{N}",
                                          "[\\p{P}" ASCII_PUNCTUATION "]",
                                          GPT2,
                                          NULL};

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
    {"a.x-4.0", P_GPT2, 0},
    {"afmoe", P_AFMOE, 0},
    {"bailingmoe", P_BAILING, 0},
    {"bailingmoe2", P_BAILING, 0},
    {"bloom", P_BLOOM, 0},
    {"chameleon", P_CHAMELEON, ADD_BOS},
    {"chatglm-bpe", P_LLAMA3, 0},
    {"codeshell", P_SMOLLM, 0},
    {"cohere2moe", P_TINY_AYA, 0},
    {"command-r", P_SMOLLM, 0},
    {"dbrx", P_LLAMA3, 0},
    {"deepseek-coder", P_DEEPSEEK_CODER, 0},
    {"deepseek-llm", P_DEEPSEEK_LLM, 0},
    {"deepseek-r1-qwen", P_QWEN2, 0},
    {"deepseek-v3", P_DEEPSEEK3, 0},
    {"exaone", P_SMOLLM, 0},
    {"exaone-moe", P_EXAONE_MOE, 0},
    {"exaone4", P_GPT2, 0},
    {"f2llmv2", P_QWEN2, 0},
    {"falcon", P_FALCON, 0},
    {"falcon-h1", P_LLAMA3, IGNORE_MERGES | ADD_BOS},
    {"falcon3", P_LLAMA3, IGNORE_MERGES | ADD_BOS},
    {"gigachat", P_GPT2, 0},
    {"glm4", P_LLAMA3, IGNORE_MERGES},
    {"glm5", P_LLAMA3, IGNORE_MERGES},
    {"gpt-4o", P_GPT4O, 0},
    {"gpt3-finnish", P_BLOOM, 0},
    {"granite-docling", P_GPT2, 0},
    {"granite-embed-multi-97m", P_GPT4O, IGNORE_MERGES},
    {"grok-2", P_QWEN2, 0},
    {"hunyuan", P_QWEN2, 0},
    {"hunyuan-dense", P_DEEPSEEK3, 0},
    {"hy_v4", P_DEEPSEEK3, 0},
    {"jais", P_GPT2, 0},
    {"jais-2", P_JAIS2, 0},
    {"jina-de", P_GPT2, 0},
    {"jina-es", P_GPT2, 0},
    {"jina-v1-en", P_GPT2, 0},
    {"jina-v2-code", P_GPT2, 0},
    {"jina-v2-de", P_GPT2, 0},
    {"jina-v2-es", P_GPT2, 0},
    {"jina-v5-nano", P_LLAMA3, IGNORE_MERGES | ADD_BOS},
    {"joyai-llm", P_DEEPSEEK3, 0},
    {"kanana2", P_GPT4O, 0},
    {"kimi-k2", P_KIMI, 0},
    {"kormo", P_QWEN2, 0},
    {"laguna", P_LAGUNA, 0},
    {"lfm2", P_LLAMA3, IGNORE_MERGES | ADD_BOS},
    {"llada-moe", P_BAILING, 0},
    {"llama4", P_GPT4O, 0},
    {"megrez", P_QWEN2, 0},
    {"mellum", P_GPT2, 0},
    {"mellum2", P_SMOLLM, 0},
    {"midm-2.0", P_LLAMA3, IGNORE_MERGES | ADD_BOS},
    {"minerva-7b", P_SMOLLM, 0},
    {"minicpm5", P_MINICPM5, IGNORE_MERGES},
    {"minimax-m2", P_GPT4O, 0},
    {"modern-bert", P_GPT2, 0},
    {"mpt", P_GPT2, 0},
    {"olmo", P_GPT2, 0},
    {"phi-2", P_GPT2, 0},
    {"pixtral", P_LLAMA3, IGNORE_MERGES | ADD_BOS},
    {"poro-chat", P_BLOOM, 0},
    {"qwen35", P_QWEN35, 0},
    {"refact", P_SMOLLM, 0},
    {"roberta-bpe", P_GPT2, 0},
    {"seed-coder", P_SEED, 0},
    {"smaug-bpe", P_LLAMA3, 0},
    {"solar-open", P_QWEN2, 0},
    {"spark2_5", P_SPARK, 0},
    {"stablelm2", P_QWEN2, 0},
    {"starcoder", P_SMOLLM, 0},
    {"superbpe", P_SUPERBPE, 0},
    {"talkie", P_GPT4O, 0},
    {"tekken", P_TEKKEN, IGNORE_MERGES | ADD_BOS},
    {"tiny_aya", P_TINY_AYA, 0},
    {"trillion", P_GPT2, 0},
    {"ufakzeka", P_UFAKZEKA, 0},
    {"viking", P_VIKING, 0},
    {"youtu", P_YOUTU, IGNORE_MERGES},
};
enum { N_KNOWN = sizeof KNOWN / sizeof *KNOWN };

/* --- compiling */

struct el_pretokenizer {
  pcre2_code *patterns[EL_MAX_PATTERNS];
  bool from_the_right[EL_MAX_PATTERNS];
  int n;
};

static el_status compile_pattern(const char *pattern, pcre2_code **out, el_error *err) {
  int code;
  PCRE2_SIZE at;
  *out = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
  if (*out) {
    pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); /* without JIT, PCRE2 interprets */
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
  if (!p) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for a pre-tokenizer");
  for (; p->n < n; p->n++) {
    p->from_the_right[p->n] = patterns[p->n][0] == FROM_THE_RIGHT[0];
    el_status status = compile_pattern(patterns[p->n] + p->from_the_right[p->n], &p->patterns[p->n], err);
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
  free(p);
}

/* --- splitting */

/* Limits of one match, which may be a run as long as the text. The named patterns need a few steps
 * for each character, so these limits only stop worse patterns. */
enum { MATCH_STEPS = 1 << 20, MATCH_STEPS_A_BYTE = 4, MATCH_HEAP_KIB = 64 << 10 };

typedef struct split_run {
  const el_pretokenizer *p;
  pcre2_match_context *limits;
  pcre2_match_data *match[EL_MAX_PATTERNS]; /* one for each pattern, since they nest */
  el_piece_fn fn;
  void *user;
  const char *text; /* the whole text, for positions in messages */
  el_error *err;
} split_run;

static el_status too_hard(const split_run *r, const char *at, int code) {
  char why[128];
  pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
  if (code == PCRE2_ERROR_NOMEMORY) return el_fail(r->err, EL_ERR_NO_MEMORY, "no memory to cut the text into pieces");
  return el_fail(r->err, EL_ERR_INVALID, "the text cannot be cut into pieces at byte %zu: %s", (size_t)(at - r->text),
                 why);
}

static el_status split_stage(split_run *r, int stage, const char *s, size_t len);

/* Cuts a run of digits; the first group takes what the others leave. */
static el_status split_groups(split_run *r, int stage, const char *s, size_t len) {
  size_t left = 0, begin = 0; /* characters */
  for (size_t i = 0; i < len; i++) left += ((unsigned char)s[i] & 0xc0) != 0x80;
  el_status status = EL_OK;
  for (size_t i = 0; i < len && !status;) {
    do i++;
    while (i < len && ((unsigned char)s[i] & 0xc0) == 0x80);
    if (--left % 3) continue;
    status = split_stage(r, stage, s + begin, i - begin);
    begin = i;
  }
  return status;
}

/* Cuts valid UTF-8 by the patterns from number `stage` on. */
static el_status split_stage(split_run *r, int stage, const char *s, size_t len) {
  if (stage == r->p->n) return r->fn(r->user, s, len);
  const uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
  pcre2_match_data *match = r->match[stage];
  const pcre2_code *pattern = r->p->patterns[stage];
  size_t done = 0;
  while (done < len) {
    int code = pcre2_match(pattern, (PCRE2_SPTR)s, len, done, options, match, r->limits);
    if (code == PCRE2_ERROR_JIT_STACKLIMIT)
      code = pcre2_match(pattern, (PCRE2_SPTR)s, len, done, options | PCRE2_NO_JIT, match, r->limits);
    if (code == PCRE2_ERROR_NOMATCH) break;
    if (code < 0) return too_hard(r, s + done, code);
    size_t begin = pcre2_get_ovector_pointer(match)[0], end = pcre2_get_ovector_pointer(match)[1];
    el_status status = begin > done ? split_stage(r, stage + 1, s + done, begin - done) : EL_OK;
    if (!status)
      status = (r->p->from_the_right[stage] ? split_groups : split_stage)(r, stage + 1, s + begin, end - begin);
    if (status) return status;
    done = end;
  }
  return done < len ? split_stage(r, stage + 1, s + done, len - done) : EL_OK;
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
  r.limits = pcre2_match_context_create(NULL);
  bool ok = r.limits != NULL;
  for (int i = 0; i < p->n && ok; i++) ok = (r.match[i] = pcre2_match_data_create(1, NULL)) != NULL;
  el_status status = ok ? EL_OK : el_fail(err, EL_ERR_NO_MEMORY, "no memory to cut the text into pieces");
  if (ok) {
    uint64_t steps = MATCH_STEPS + MATCH_STEPS_A_BYTE * (uint64_t)len;
    pcre2_set_match_limit(r.limits, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    pcre2_set_heap_limit(r.limits, MATCH_HEAP_KIB);
  }
  for (size_t at = 0; at < len && !status;) {
    bool valid;
    size_t n = same_validity(text + at, len - at, &valid);
    status = valid ? split_stage(&r, 0, text + at, n) : fn(user, text + at, n);
    at += n;
  }
  for (int i = 0; i < p->n; i++) pcre2_match_data_free(r.match[i]);
  pcre2_match_context_free(r.limits);
  return status;
}

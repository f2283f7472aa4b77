/* The engine's tuned numbers: another machine or model may have better ones, and none of them changes an answer. Each
 * says how it was found; all times are of AMD EPYC cores (Zen 4, AVX-512 VNNI). Limits, and sizes that something must
 * have, stand where they are used. The compute threads' own are in base/threads.c, those of a kernel in its file. */
#ifndef EL_ENGINE_TUNING_H
#define EL_ENGINE_TUNING_H

/* --- drawing tokens */

enum {
  /* Rows of so many tokens are shared by threads where there are fewer rows than threads; with shorter ones, waiting
   * for each other takes about as long as is saved. Two threads: 151,936 tokens in 50 us in place of 76, 262,144 in 88
   * in place of 130 (temperature 1). */
  EL_DRAW_SHARE_FROM = 1 << 16,
  EL_ROW_PART = 1 << 14, /* tokens of a part of such a row: whole blocks, and whole chunks of the sums */

  /* top-p, in the order in which it looks. Of a flat row of 49,152 logits with top_p 0.95: 64 us, where sorting what
   * stays took 503. */
  EL_NUCLEUS_TRY = 128, /* it first looks at so many: of rows that say something they most often hold the mass */
  EL_NUCLEUS_SAMPLE = 8 /* of other rows, one chunk of so many tells how far it must look */
};
#define EL_NUCLEUS_FLAT 6.0    /* a mass, where the largest weight is 1, that the first few hardly have most of */
#define EL_NUCLEUS_MARGIN 1.25 /* by which the sample may be wrong: a bad guess costs time alone */

/* --- speculation: tools/bench-speculation compares tokens per second with it and without it */

enum {
  EL_SPECULATE_SEQS = 16,   /* more never speculate at once: each has a row that pays already */
  EL_SPECULATE_PROBE = 128, /* where measured times alone speak against guessing, one of so many steps tries it */
  EL_DRAFT_MEMORY = 16,     /* guesses of a kind that its share is about a mean of */
  EL_COST_MEMORY = 24,      /* steps that a point of the shape is about a mean of */
  EL_COST_LEVEL_MEMORY = 8, /* and the level */
  EL_COST_KNOWN = 4         /* steps of a number of rows that tell the level's change from what rows cost */
};
/* What a row is hoped to cost, as a share of a step of one row: some where weights are read from memory, more than that
 * where they are in caches. */
#define EL_COST_HOPED_SLOPE 0.12f
/* The share of guesses that come true, by kind (draft.h), before a sequence has its own: measured on answers of small
 * chat models, of all sorts of prompts together. */
#define EL_DRAFT_USUAL \
  { 0.4f, 0.55f, 0.65f, 0.75f, 0.85f, 0.3f, 0.5f, 0.8f }

/* --- what gives way first. memory.h and prefix.h have the reasons; a quarter is what they led to, not a measurement */

enum {
  EL_PREFIX_SHARE = 4, /* idle pages go before idle adapters if they have more than one so-many-th of what is idle */
  EL_PASSED_SHARE = 4  /* pages that a window has passed go first if they have more than that of the idle pages */
};

#endif

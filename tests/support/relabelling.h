/* SPDX-License-Identifier: Apache-2.0 */
/* Rules and labels written down in short, for tests of relabelling. */
#ifndef TESTS_SUPPORT_RELABELLING_H
#define TESTS_SUPPORT_RELABELLING_H

#include "pra.h"
#include "support/text.h"

/* What is NULL is as Prometheus' default. sources: names with commas between. */
struct short_rule {
    const char *action;
    const char *sources;
    const char *regex;
    const char *target;
    const char *replacement;
    const char *separator;
    uint64_t modulus;
};

/* Compiles rules up to the first without an action, 16 at most. */
int relabel_of(const pra_alloc *alloc, const struct short_rule *rules, const pra_limits *limits,
               pra_relabel **out, pra_error *err);

enum { SHORT_LABELS = 64 };

/* Reads "a=foo|b=bar"; labels point into text. Returns their number. */
size_t labels_of(const char *text, pra_label labels[SHORT_LABELS]);

/* The same form. */
void text_of_labels(struct text *t, const pra_label *labels, size_t count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "support/relabelling.h"

#include <stdlib.h>
#include <string.h>

enum { RULES = 16, SOURCES = 8 };

static pra_str str(const char *s)
{
    return (pra_str){s, strlen(s)};
}

/* The piece of text up to any of these characters; *text is behind it. */
static pra_str piece(const char **text, const char *ends)
{
    const pra_str out = {*text, strcspn(*text, ends)};
    *text += out.len;
    *text += **text != 0;
    return out;
}

static void fill(pra_relabel_rule *to, const struct short_rule *from, pra_str sources[SOURCES])
{
    (void)pra_relabel_rule_init(to, sizeof(*to));
    to->action = pra_relabel_action(str(from->action));
    to->source_labels = sources;
    for (const char *at = from->sources ? from->sources : ""; *at;) {
        if (to->source_label_count == SOURCES)
            abort();
        sources[to->source_label_count++] = piece(&at, ",");
    }
    if (from->regex)
        to->regex = str(from->regex);
    if (from->target)
        to->target_label = str(from->target);
    if (from->replacement)
        to->replacement = str(from->replacement);
    if (from->separator)
        to->separator = str(from->separator);
    to->modulus = from->modulus;
}

int relabel_of(const pra_alloc *alloc, const struct short_rule *rules, const pra_limits *limits,
               pra_relabel **out, pra_error *err)
{
    pra_relabel_rule full[RULES];
    pra_str sources[RULES][SOURCES];
    size_t count = 0;
    for (; rules[count].action; count++) {
        if (count == RULES)
            abort();
        fill(&full[count], &rules[count], sources[count]);
    }
    return pra_relabel_new(alloc, full, count, limits, out, err);
}

size_t labels_of(const char *text, pra_label labels[SHORT_LABELS])
{
    size_t count = 0;
    while (*text) {
        if (count == SHORT_LABELS)
            abort();
        labels[count].name = piece(&text, "=");
        labels[count++].value = piece(&text, "|");
    }
    return count;
}

void text_of_labels(struct text *t, const pra_label *labels, size_t count)
{
    text_bytes(t, "", 0);
    for (size_t i = 0; i < count; i++) {
        text_bytes(t, "|", i > 0);
        text_bytes(t, labels[i].name.ptr, labels[i].name.len);
        text_bytes(t, "=", 1);
        text_bytes(t, labels[i].value.ptr, labels[i].value.len);
    }
}

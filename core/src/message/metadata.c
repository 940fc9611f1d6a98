/* SPDX-License-Identifier: Apache-2.0 */
#include "message/metadata.h"

#include <string.h>

#include "base/str.h"

/* What a family's series have behind its name, by the type of the family. */
enum {
    COUNTER = 1 << PRA_METRIC_COUNTER,
    HISTOGRAM = 1 << PRA_METRIC_HISTOGRAM | 1 << PRA_METRIC_GAUGEHISTOGRAM,
    SUMMARY = 1 << PRA_METRIC_SUMMARY,
    INFO = 1 << PRA_METRIC_INFO
};

static const struct suffix {
    pra_str text;
    int types;
} suffixes[] = {
    {{"_bucket", 7}, HISTOGRAM},
    {{"_count", 6}, HISTOGRAM | SUMMARY},
    {{"_sum", 4}, HISTOGRAM | SUMMARY},
    {{"_total", 6}, COUNTER},
    {{"_created", 8}, COUNTER | HISTOGRAM | SUMMARY},
    {{"_info", 5}, INFO},
};

enum { SUFFIX_COUNT = sizeof(suffixes) / sizeof(suffixes[0]) };

static int fits(const struct suffix *s, int32_t type)
{
    return type >= PRA_METRIC_UNKNOWN && type <= PRA_METRIC_STATESET && (s->types >> type & 1);
}

/* 1 if text follows something in name, which *out is without it. */
static int strip(const char *base, pra_span name, pra_str text, pra_span *out)
{
    if (name.len <= text.len ||
        memcmp(base + name.off + name.len - text.len, text.ptr, text.len) != 0)
        return 0;
    *out = (pra_span){name.off, name.len - (uint32_t)text.len};
    return 1;
}

pra_span pra__metric_name(const pra_columns *c, size_t series)
{
    static const pra_str wanted = {"__name__", 8};
    for (size_t i = c->label_offsets[series]; i < c->label_offsets[series + 1]; i++) {
        const pra_label_span *l = &c->labels[i];
        if (pra__str_equal((pra_str){c->base + l->name.off, l->name.len}, wanted))
            return l->value;
    }
    return (pra_span){0, 0};
}

/* Histograms and summaries are several series. A counter is one, and its name in the text format is
 * its family's, so it keeps its suffix. */
pra_span pra__family_of(const pra_columns *c, const pra_metadata *m)
{
    const pra_span name = pra__metric_name(c, m->series);
    pra_span family = name;
    for (int i = 0; i < SUFFIX_COUNT; i++)
        if (fits(&suffixes[i], m->type) && (1 << m->type & (HISTOGRAM | SUMMARY)) &&
            strip(c->base, name, suffixes[i].text, &family))
            return family;
    return name;
}

static const pra_metadata *metadata_at(const pra_columns *c, const struct pra__strings *strings,
                                       pra_span family)
{
    const uint32_t index = pra__strings_find(strings, family);
    const uint32_t entry = index == PRA__NO_STRING ? 0 : pra__strings_at(strings, index)->metadata;
    return entry ? &c->metadata[entry - 1] : NULL;
}

const pra_metadata *pra__metadata_of_name(const pra_columns *c, const struct pra__strings *strings,
                                          pra_span name)
{
    const pra_metadata *m = name.len ? metadata_at(c, strings, name) : NULL;
    for (int i = 0; !m && i < SUFFIX_COUNT; i++) {
        pra_span family;
        if (!strip(c->base, name, suffixes[i].text, &family))
            continue;
        m = metadata_at(c, strings, family);
        if (m && !fits(&suffixes[i], m->type))
            m = NULL;
    }
    return m;
}

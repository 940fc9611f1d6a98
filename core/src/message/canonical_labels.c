/* SPDX-License-Identifier: Apache-2.0 */
/* Senders nearly always send labels in order, so they are first looked at without changing
 * anything. In remote write 2.0 a symbol is sent once and used any number of times: what it costs
 * to look at a string must not be multiplied by its length. Whether symbols are UTF-8 is found once
 * for all of them; of long ones, once they are needed, the order too. */
#include "message/canonical_labels.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/sort.h"
#include "base/str.h"
#include "wire/tlv.h"

static pra_str str_at(const char *base, pra_span span)
{
    return (pra_str){base + span.off, span.len};
}

/* ---- is it text */

enum { STEP = 32 };

static uint64_t any_of_step(const uint8_t *p)
{
    return pra__load64(p) | pra__load64(p + 8) | pra__load64(p + 16) | pra__load64(p + 24);
}

/* 1 if all bytes are ASCII. The last step looks at some bytes a second time. */
static int is_ascii(const char *p, size_t len)
{
    const uint8_t *bytes = (const uint8_t *)p;
    uint64_t any = 0;
    if (len < STEP) {
        for (size_t i = 0; i < len; i++)
            any |= bytes[i];
    } else {
        for (size_t i = 0; i + STEP < len; i += STEP)
            any |= any_of_step(bytes + i);
        any |= any_of_step(bytes + len - STEP);
    }
    return (any & UINT64_C(0x8080808080808080)) == 0;
}

/* ---- long symbols: up to this length it does not matter how often a string is looked at */

enum { LONG = 128 };

struct pra__long_symbol {
    pra_span span;
    uint32_t rank; /* in the order of bytes; equal strings share one */
    uint32_t is_utf8;
};

static int by_bytes(const void *a, const void *b, const void *base)
{
    const struct pra__long_symbol *x = a, *y = b;
    return pra__str_compare(str_at(base, x->span), str_at(base, y->span));
}

static int by_place(const void *a, const void *b, const void *base)
{
    const struct pra__long_symbol *x = a, *y = b;
    (void)base;
    return (x->span.off > y->span.off) - (x->span.off < y->span.off);
}

static void rank_longs(struct pra__texts *t)
{
    struct pra__long_symbol *l = t->longs;
    uint32_t rank = 0;
    pra__sort(l, t->long_count, sizeof(*l), by_bytes, t->base);
    for (size_t i = 0; i < t->long_count; i++) {
        rank += i && by_bytes(&l[i - 1], &l[i], t->base) != 0;
        l[i].rank = rank;
        l[i].is_utf8 = (uint32_t)pra__utf8_valid(str_at(t->base, l[i].span));
    }
    pra__sort(l, t->long_count, sizeof(*l), by_place, t->base);
}

/* Takes an eighth of the message at most, outside the budget: this is about time. Where it is not
 * to be had, strings are compared as they are: slow, but not wrong. */
static void find_longs(struct pra__texts *t)
{
    const struct pra__columns *c = t->columns;
    size_t count = 0;
    t->longs_tried = 1;
    for (size_t i = 0; i < t->symbol_count; i++)
        count += t->symbols[i].len > LONG;
    t->longs = pra__malloc(&c->alloc, count * sizeof(*t->longs));
    if (!t->longs)
        return;
    t->long_cap = count;
    for (size_t i = 0; i < t->symbol_count; i++)
        if (t->symbols[i].len > LONG)
            t->longs[t->long_count++] = (struct pra__long_symbol){.span = t->symbols[i]};
    rank_longs(t);
}

static const struct pra__long_symbol *find_long(const struct pra__texts *t, pra_span span)
{
    size_t low = 0, high = t->long_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->longs[middle].span.off < span.off)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->long_count && t->longs[low].span.off == span.off ? &t->longs[low] : NULL;
}

/* ---- strings, with what is known about them */

static void prepare(struct pra__texts *t, pra_span span)
{
    if (span.len > LONG && t->symbol_count && !t->longs_tried)
        find_longs(t);
}

static int compare(const struct pra__texts *t, pra_span a, pra_span b)
{
    if (t->symbol_count) {
        if (a.off == b.off && a.len == b.len)
            return 0;
        if (a.len > LONG && b.len > LONG) {
            const struct pra__long_symbol *x = find_long(t, a), *y = find_long(t, b);
            if (x && y)
                return (x->rank > y->rank) - (x->rank < y->rank);
        }
    }
    return pra__str_compare(str_at(t->base, a), str_at(t->base, b));
}

static int is_utf8(struct pra__texts *t, pra_span span)
{
    prepare(t, span);
    const struct pra__long_symbol *symbol = span.len > LONG ? find_long(t, span) : NULL;
    if (symbol)
        return (int)symbol->is_utf8;
    return pra__utf8_valid(str_at(t->base, span));
}

static int are_utf8(struct pra__texts *t, const pra_label_span *labels, size_t count)
{
    if (t->all_utf8)
        return 1;
    for (size_t i = 0; i < count; i++)
        if (!is_utf8(t, labels[i].name) || !is_utf8(t, labels[i].value))
            return 0;
    return 1;
}

/* Symbols stand one after the other, so that one scan answers for all where they are ASCII. */
static int symbols_are_utf8(const char *base, const pra_span *symbols, size_t count)
{
    const pra_span first = symbols[0], last = symbols[count - 1];
    if (first.off <= last.off && is_ascii(base + first.off, last.off + last.len - first.off))
        return 1;
    for (size_t i = 0; i < count; i++)
        if (!pra__utf8_valid(str_at(base, symbols[i])))
            return 0;
    return 1;
}

void pra__texts_init(struct pra__texts *t, const struct pra__columns *c, const pra_columns *view)
{
    *t = (struct pra__texts){.base = view->base, .base_len = view->base_len, .columns = c};
    if (view->label_refs || view->symbol_count) {
        t->symbols = view->symbols;
        t->symbol_count = view->symbol_count;
    }
    if (t->symbol_count)
        t->all_utf8 = symbols_are_utf8(t->base, t->symbols, t->symbol_count);
}

void pra__texts_fini(struct pra__texts *t)
{
    pra__free(&t->columns->alloc, t->longs, t->long_cap * sizeof(*t->longs));
}

/* ---- the quick look */

/* The first eight bytes of a string that is not empty, as a number that compares as they do;
 * shorter ones are filled with zeros. */
static uint64_t prefix(const char *base, size_t base_len, pra_span span)
{
    uint64_t word = 0;
    if (base_len - span.off >= 8)
        word = pra__load64((const uint8_t *)base + span.off);
    else
        for (size_t i = 0; i < base_len - span.off; i++)
            word |= (uint64_t)(uint8_t)base[span.off + i] << (8 * i);
    const unsigned used = span.len < 8 ? span.len : 8;
    return __builtin_bswap64(word) & ~UINT64_C(0) << (64 - 8 * used);
}

/* Strings that begin one after the other, as they do in a message, do not overlap: one scan over
 * all of them answers for each, as what stands between them is mostly ASCII too. */
static int are_text(struct pra__texts *t, const pra_label_span *labels, size_t count, int ascending)
{
    const pra_label_span *last = &labels[count - 1];
    size_t start = labels[0].name.off;
    if (ascending && is_ascii(t->base + start, (size_t)last->value.off + last->value.len - start))
        return 1;
    return are_utf8(t, labels, count);
}

static int is_metric_name(const char *base, pra_span name)
{
    return name.len == 8 && memcmp(base + name.off, "__name__", 8) == 0;
}

/* It nearly always comes first. */
static int have_metric_name(const char *base, const pra_label_span *labels, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_metric_name(base, labels[i].name))
            return labels[i].value.len != 0;
    return 0;
}

static int rises(struct pra__texts *t, pra_span a, pra_span b)
{
    prepare(t, b);
    return compare(t, a, b) < 0;
}

int pra__labels_are_canonical(struct pra__texts *t, const pra_label_span *labels, size_t count,
                              int needs_metric_name)
{
    uint64_t before = 0;
    uint32_t begun = 0;
    int ascending = 1;
    if (count == 0)
        return !needs_metric_name;
    for (size_t i = 0; i < count; i++) {
        const pra_label_span *l = &labels[i];
        if (l->name.len == 0 || l->value.len == 0)
            return 0;
        uint64_t now = prefix(t->base, t->base_len, l->name);
        if (now < before || (now == before && i && !rises(t, l[-1].name, l->name)))
            return 0;
        before = now;
        ascending &= l->name.off >= begun && l->value.off >= l->name.off;
        begun = l->value.off;
    }
    if (needs_metric_name && !have_metric_name(t->base, labels, count))
        return 0;
    if (t->symbol_count)
        return are_utf8(t, labels, count);
    return are_text(t, labels, count, ascending);
}

/* ---- putting labels in order */

static int compare_labels(const void *a, const void *b, const void *texts)
{
    const pra_label_span *x = a, *y = b;
    return compare(texts, x->name, y->name);
}

static int compare_refs(const void *a, const void *b, const void *texts)
{
    const struct pra__texts *t = texts;
    const pra_symbol_refs *x = a, *y = b;
    return compare(t, t->symbols[x->name], t->symbols[y->name]);
}

/* Labels with references are what these say. */
static void sort_labels(const struct pra__texts *t, struct pra__label_set *set)
{
    if (!set->refs) {
        pra__sort(set->labels, set->count, sizeof(*set->labels), compare_labels, t);
        return;
    }
    pra__sort(set->refs, set->count, sizeof(*set->refs), compare_refs, t);
    for (size_t i = 0; i < set->count; i++)
        set->labels[i] =
            (pra_label_span){t->symbols[set->refs[i].name], t->symbols[set->refs[i].value]};
}

static int are_sorted(const struct pra__texts *t, const struct pra__label_set *set)
{
    for (size_t i = 1; i < set->count; i++)
        if (compare(t, set->labels[i - 1].name, set->labels[i].name) > 0)
            return 0;
    return 1;
}

static int shown(pra_span name)
{
    return (int)(name.len < 100 ? name.len : 100);
}

/* After sorting. */
static int check_names(const struct pra__texts *t, const struct pra__label_set *set, pra_error *why)
{
    const pra_label_span *labels = set->labels;
    if (set->count && labels[0].name.len == 0)
        return pra__error(why, PRA_ERR_LABELS, labels[0].value.off, "a label has an empty name");
    for (size_t i = 1; i < set->count; i++)
        if (compare(t, labels[i - 1].name, labels[i].name) == 0)
            return pra__error(why, PRA_ERR_LABELS, labels[i].name.off,
                              "label name \"%.*s\" is repeated", shown(labels[i].name),
                              t->base + labels[i].name.off);
    if (set->needs_metric_name && !have_metric_name(t->base, labels, set->count))
        return pra__error(why, PRA_ERR_LABELS, 0,
                          "no metric name: the label __name__ is missing or empty");
    return PRA_OK;
}

static int check_strictly(const struct pra__texts *t, const struct pra__label_set *set,
                          int were_sorted, pra_error *why)
{
    if (!were_sorted)
        return pra__error(why, PRA_ERR_LABELS, 0, "the labels are not sorted by name");
    for (size_t i = 0; i < set->count; i++)
        if (set->labels[i].value.len == 0)
            return pra__error(why, PRA_ERR_LABELS, set->labels[i].name.off,
                              "label \"%.*s\" has an empty value", shown(set->labels[i].name),
                              t->base + set->labels[i].name.off);
    return PRA_OK;
}

static void drop_empty_values(struct pra__label_set *set)
{
    size_t kept = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (set->labels[i].value.len == 0)
            continue;
        set->labels[kept] = set->labels[i];
        if (set->refs)
            set->refs[kept] = set->refs[i];
        kept++;
    }
    set->count = kept;
}

/* Sorts, then drops empty values, so that they still count as repetitions, as in Prometheus. */
int pra__labels_make_canonical(struct pra__texts *t, struct pra__label_set *set, int strict,
                               pra_error *why)
{
    if (!are_utf8(t, set->labels, set->count))
        return pra__error(why, PRA_ERR_LABELS, 0, "a label is not valid UTF-8");
    for (size_t i = 0; i < set->count; i++)
        prepare(t, set->labels[i].name);
    const int sorted = are_sorted(t, set);
    if (!sorted)
        sort_labels(t, set);
    int rc = check_names(t, set, why);
    if (rc == PRA_OK && strict)
        rc = check_strictly(t, set, sorted, why);
    if (rc == PRA_OK)
        drop_empty_values(set);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* pra_write_request_canonicalize. Senders nearly always send labels in order, so each series is
 * first looked at without changing anything; columns move only from the first series on that is
 * changed or taken out. */
#include <string.h>

#include "base/error.h"
#include "base/sort.h"
#include "base/str.h"
#include "message/write_request.h"
#include "wire/tlv.h"

static pra_str str_at(const char *base, pra_span span)
{
    return (pra_str){base + span.off, span.len};
}

static int compare_names(const char *base, const pra_label_span *a, const pra_label_span *b)
{
    return pra__str_compare(str_at(base, a->name), str_at(base, b->name));
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

static int are_utf8(const char *base, const pra_label_span *labels, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!pra__utf8_valid(str_at(base, labels[i].name)) ||
            !pra__utf8_valid(str_at(base, labels[i].value)))
            return 0;
    return 1;
}

/* Strings that begin one after the other, as they do in a message, do not overlap: one scan over
 * all of them answers for each, as what stands between them is mostly ASCII too. */
static int are_text(const char *base, const pra_label_span *labels, size_t count, int ascending)
{
    const pra_label_span *last = &labels[count - 1];
    size_t start = labels[0].name.off;
    if (ascending && is_ascii(base + start, (size_t)last->value.off + last->value.len - start))
        return 1;
    return are_utf8(base, labels, count);
}

/* 1 if nothing is to be done for these labels. */
static int is_canonical(const pra_columns *c, const pra_label_span *labels, size_t count)
{
    uint64_t before = 0;
    uint32_t begun = 0;
    int ascending = 1;
    if (count == 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        const pra_label_span *l = &labels[i];
        if (l->name.len == 0 || l->value.len == 0)
            return 0;
        uint64_t now = prefix(c->base, c->base_len, l->name);
        if (now < before || (now == before && i && compare_names(c->base, l - 1, l) >= 0))
            return 0;
        before = now;
        ascending &= l->name.off >= begun && l->value.off >= l->name.off;
        begun = l->value.off;
    }
    return are_text(c->base, labels, count, ascending);
}

/* ---- putting labels in order */

static int compare_labels(const void *a, const void *b, const void *base)
{
    return compare_names(base, a, b);
}

/* Returns the number of labels left. */
static size_t drop_empty_values(pra_label_span *labels, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (labels[i].value.len)
            labels[kept++] = labels[i];
    return kept;
}

/* Sorts, then drops empty values, so that they still count as repetitions, as in Prometheus.
 * Returns PRA_OK with *count changed, or PRA_ERR_LABELS with the reason in why. */
static int make_canonical(const char *base, pra_label_span *labels, size_t *count, size_t index,
                          pra_error *why)
{
    const size_t n = *count;
    if (!are_utf8(base, labels, n))
        return pra__error(why, PRA_ERR_LABELS, 0, "series %zu: a label is not valid UTF-8", index);
    pra__sort(labels, n, sizeof(*labels), compare_labels, base);
    if (n && labels[0].name.len == 0)
        return pra__error(why, PRA_ERR_LABELS, labels[0].value.off,
                          "series %zu: a label has an empty name", index);
    for (size_t i = 1; i < n; i++)
        if (compare_names(base, &labels[i - 1], &labels[i]) == 0)
            return pra__error(why, PRA_ERR_LABELS, labels[i].name.off,
                              "series %zu: label name \"%.*s\" is repeated", index,
                              (int)(labels[i].name.len < 100 ? labels[i].name.len : 100),
                              base + labels[i].name.off);
    size_t left = drop_empty_values(labels, n);
    if (left == 0)
        return pra__error(why, PRA_ERR_LABELS, 0, "series %zu: no labels", index);
    *count = left;
    return PRA_OK;
}

/* ---- moving what is kept */

/* How much of each column is kept so far, once anything moves. */
struct kept {
    int moving;
    size_t series;
    size_t len[PRA__COL_COUNT];
};

static void keep(struct pra__columns *c, struct kept *k, enum pra__column_id id, size_t start,
                 size_t count)
{
    pra__columns_move(c, id, k->len[id], start, count);
    k->len[id] += count;
}

static void keep_exemplars(struct pra__columns *c, struct kept *k, pra_range range)
{
    uint32_t *offsets = PRA__COLUMN(uint32_t, c, PRA__COL_EXEMPLAR_LABEL_OFFSETS);
    size_t at = k->len[PRA__COL_EXEMPLAR_TIMESTAMPS];
    keep(c, k, PRA__COL_EXEMPLAR_TIMESTAMPS, range.start, range.count);
    keep(c, k, PRA__COL_EXEMPLAR_VALUES, range.start, range.count);
    for (size_t i = 0; i < range.count; i++) {
        uint32_t start = offsets[range.start + i];
        uint32_t count = offsets[range.start + i + 1] - start;
        offsets[at + i] = (uint32_t)k->len[PRA__COL_EXEMPLAR_LABELS];
        keep(c, k, PRA__COL_EXEMPLAR_LABELS, start, count);
    }
}

static void keep_histograms(struct pra__columns *c, struct kept *k, pra_range range)
{
    pra_histogram *histograms = PRA__COLUMN(pra_histogram, c, PRA__COL_HISTOGRAMS);
    const size_t at = k->len[PRA__COL_HISTOGRAMS];
    keep(c, k, PRA__COL_HISTOGRAMS, range.start, range.count);
    for (size_t i = 0; i < range.count; i++)
        for (int b = 0; b < PRA__BUCKET_COLUMNS; b++) {
            pra_range *buckets = pra__bucket_range(&histograms[at + i], b);
            uint32_t start = (uint32_t)k->len[pra__bucket_columns[b]];
            keep(c, k, pra__bucket_columns[b], buckets->start, buckets->count);
            buckets->start = start;
        }
}

/* Everything before series number index stays where it is. */
static void keep_all_before(struct kept *k, const struct pra__columns *c, const pra_columns *view,
                            size_t index)
{
    uint32_t exemplar = view->exemplar_offsets[index];
    uint32_t histogram = view->histogram_offsets[index];
    *k = (struct kept){.moving = 1, .series = index};
    k->len[PRA__COL_LABELS] = view->label_offsets[index];
    k->len[PRA__COL_TIMESTAMPS] = k->len[PRA__COL_VALUES] = view->sample_offsets[index];
    k->len[PRA__COL_EXEMPLAR_TIMESTAMPS] = k->len[PRA__COL_EXEMPLAR_VALUES] = exemplar;
    k->len[PRA__COL_EXEMPLAR_LABELS] =
        view->exemplar_count ? view->exemplar_label_offsets[exemplar] : 0;
    k->len[PRA__COL_HISTOGRAMS] = histogram;
    for (int b = 0; b < PRA__BUCKET_COLUMNS; b++) {
        enum pra__column_id id = pra__bucket_columns[b];
        k->len[id] = c->col[id].len;
        if (histogram < view->histogram_count)
            k->len[id] =
                pra__bucket_range(PRA__COLUMN(pra_histogram, c, PRA__COL_HISTOGRAMS) + histogram, b)
                    ->start;
    }
}

static pra_range range_at(const uint32_t *offsets, size_t index)
{
    return (pra_range){offsets[index], offsets[index + 1] - offsets[index]};
}

static void mark(struct pra__columns *c, enum pra__column_id offsets, size_t at, size_t value)
{
    PRA__COLUMN(uint32_t, c, offsets)[at] = (uint32_t)value;
}

/* The offset columns are written at k->series, never beyond the series that is being read. */
static void keep_series(struct pra__columns *c, struct kept *k, const pra_columns *view,
                        size_t index, size_t label_count)
{
    const uint32_t labels = view->label_offsets[index];
    const pra_range samples = range_at(view->sample_offsets, index);
    const pra_range exemplars = range_at(view->exemplar_offsets, index);
    const pra_range histograms = range_at(view->histogram_offsets, index);
    const size_t at = k->series++;
    mark(c, PRA__COL_LABEL_OFFSETS, at, k->len[PRA__COL_LABELS]);
    mark(c, PRA__COL_SAMPLE_OFFSETS, at, k->len[PRA__COL_TIMESTAMPS]);
    mark(c, PRA__COL_EXEMPLAR_OFFSETS, at, k->len[PRA__COL_EXEMPLAR_TIMESTAMPS]);
    mark(c, PRA__COL_HISTOGRAM_OFFSETS, at, k->len[PRA__COL_HISTOGRAMS]);
    keep(c, k, PRA__COL_LABELS, labels, label_count);
    keep(c, k, PRA__COL_TIMESTAMPS, samples.start, samples.count);
    keep(c, k, PRA__COL_VALUES, samples.start, samples.count);
    keep_exemplars(c, k, exemplars);
    keep_histograms(c, k, histograms);
}

static void cut_to_kept(struct pra__columns *c, const struct kept *k)
{
    static const enum pra__column_id plain[] = {
        PRA__COL_LABELS,          PRA__COL_TIMESTAMPS, PRA__COL_EXEMPLAR_TIMESTAMPS,
        PRA__COL_EXEMPLAR_LABELS, PRA__COL_HISTOGRAMS,
    };
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        c->col[plain[i]].len = k->len[plain[i]];
    for (int b = 0; b < PRA__BUCKET_COLUMNS; b++)
        c->col[pra__bucket_columns[b]].len = k->len[pra__bucket_columns[b]];
    uint32_t *offsets = PRA__COLUMN(uint32_t, c, PRA__COL_EXEMPLAR_LABEL_OFFSETS);
    if (offsets)
        offsets[k->len[PRA__COL_EXEMPLAR_TIMESTAMPS]] = (uint32_t)k->len[PRA__COL_EXEMPLAR_LABELS];
    c->series = k->series;
    (void)pra__columns_mark_series(c); /* there is room: it never moves up */
}

/* ---- the whole */

struct reject {
    void (*fn)(void *ctx, const pra_series *series, size_t index, const pra_error *why);
    void *ctx;
};

static void hand_over(pra_write_request *req, const pra_columns *view, size_t index,
                      const pra_error *why, const struct reject *reject)
{
    pra_series series = {.size = sizeof(series)};
    if (!reject->fn || pra_columns_series(view, index, &series))
        return;
    req->busy = 1;
    reject->fn(reject->ctx, &series, index, why);
    req->busy = 0;
}

/* A series that is not canonical yet: changed, or taken out. Returns 1 if it is taken out. */
static int settle(pra_write_request *req, const pra_columns *view, size_t index,
                  pra_label_span *labels, size_t count, struct kept *k, const struct reject *reject)
{
    pra_error why = {0};
    size_t left = count;
    int rc = make_canonical(view->base, labels, &left, index, &why);
    if (!k->moving && (rc || left != count))
        keep_all_before(k, &req->cols, view, index);
    if (rc)
        hand_over(req, view, index, &why, reject);
    else if (k->moving)
        keep_series(&req->cols, k, view, index, left);
    return rc != PRA_OK;
}

static int64_t canonicalize(pra_write_request *req, pra_columns *view, const struct reject *reject)
{
    struct pra__columns *c = &req->cols;
    struct kept k = {0};
    int64_t rejected = 0;
    for (size_t i = 0; i < view->series_count; i++) {
        uint32_t first = view->label_offsets[i];
        size_t count = view->label_offsets[i + 1] - first;
        pra_label_span *labels =
            count ? PRA__COLUMN(pra_label_span, c, PRA__COL_LABELS) + first : NULL;
        if (!is_canonical(view, labels, count))
            rejected += settle(req, view, i, labels, count, &k, reject);
        else if (k.moving)
            keep_series(c, &k, view, i, count);
    }
    if (k.moving)
        cut_to_kept(c, &k);
    return rejected;
}

int64_t pra_write_request_canonicalize(pra_write_request *req,
                                       void (*on_reject)(void *ctx, const pra_series *series,
                                                         size_t index, const pra_error *why),
                                       void *ctx)
{
    struct reject reject = {on_reject, ctx};
    pra_columns view = {.size = sizeof(view)};
    if (!req)
        return PRA_ERR_INVALID_ARG;
    if (req->busy)
        return PRA_ERR_BUSY;
    (void)pra__columns_view(&req->cols, &view);
    if (!view.base)
        view.base = "";
    return canonicalize(req, &view, &reject);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "message/keep.h"

static void keep(struct pra__columns *c, struct pra__kept *k, enum pra__column_id id, size_t start,
                 size_t count)
{
    pra__columns_move(c, id, k->len[id], start, count);
    k->len[id] += count;
}

/* ---- begin */

static void first_buckets(struct pra__kept *k, const struct pra__columns *c,
                          const pra_columns *view, uint32_t histogram)
{
    for (int b = 0; b < PRA__BUCKET_COLUMNS; b++) {
        enum pra__column_id id = pra__bucket_columns[b];
        k->len[id] = c->col[id].len;
        if (histogram < view->histogram_count)
            k->len[id] =
                pra__bucket_range(PRA__COLUMN(pra_histogram, c, PRA__COL_HISTOGRAMS) + histogram, b)
                    ->start;
    }
}

/* The first entry of metadata that belongs to series number index or a later one. */
static size_t first_metadata(const pra_columns *view, size_t index)
{
    size_t i = 0;
    while (i < view->metadata_count &&
           (view->metadata[i].series == UINT32_MAX || view->metadata[i].series < index))
        i++;
    return i;
}

void pra__keep_all_before(struct pra__columns *c, struct pra__kept *k, const pra_columns *view,
                          size_t index)
{
    const uint32_t exemplar = view->exemplar_offsets[index];
    const uint32_t histogram = view->histogram_offsets[index];
    *k = (struct pra__kept){.moving = 1, .series = index};
    k->len[PRA__COL_LABELS] = k->len[PRA__COL_LABEL_REFS] = view->label_offsets[index];
    k->len[PRA__COL_TIMESTAMPS] = view->sample_offsets[index];
    k->len[PRA__COL_VALUES] = k->len[PRA__COL_START_TIMESTAMPS] = view->sample_offsets[index];
    k->len[PRA__COL_EXEMPLAR_TIMESTAMPS] = k->len[PRA__COL_EXEMPLAR_VALUES] = exemplar;
    k->len[PRA__COL_EXEMPLAR_LABELS] =
        view->exemplar_count ? view->exemplar_label_offsets[exemplar] : 0;
    k->len[PRA__COL_HISTOGRAMS] = histogram;
    first_buckets(k, c, view, histogram);
    k->metadata_read = k->len[PRA__COL_METADATA] = first_metadata(view, index);
}

/* ---- what is kept */

static void mark(struct pra__columns *c, enum pra__column_id offsets, size_t at, size_t value)
{
    PRA__COLUMN(uint32_t, c, offsets)[at] = (uint32_t)value;
}

/* The offset columns are written at k->series, never beyond the series that is being read. */
void pra__keep_series(struct pra__columns *c, struct pra__kept *k, const struct pra__owned *owned,
                      size_t label_count)
{
    const size_t at = k->series++;
    mark(c, PRA__COL_LABEL_OFFSETS, at, k->len[PRA__COL_LABELS]);
    mark(c, PRA__COL_SAMPLE_OFFSETS, at, k->len[PRA__COL_TIMESTAMPS]);
    mark(c, PRA__COL_EXEMPLAR_OFFSETS, at, k->len[PRA__COL_EXEMPLAR_TIMESTAMPS]);
    mark(c, PRA__COL_HISTOGRAM_OFFSETS, at, k->len[PRA__COL_HISTOGRAMS]);
    keep(c, k, PRA__COL_LABELS, owned->labels.start, label_count);
    if (c->col[PRA__COL_LABEL_REFS].len)
        keep(c, k, PRA__COL_LABEL_REFS, owned->labels.start, label_count);
    keep(c, k, PRA__COL_TIMESTAMPS, owned->samples.start, owned->samples.count);
    keep(c, k, PRA__COL_VALUES, owned->samples.start, owned->samples.count);
    if (c->col[PRA__COL_START_TIMESTAMPS].len)
        keep(c, k, PRA__COL_START_TIMESTAMPS, owned->samples.start, owned->samples.count);
}

void pra__keep_exemplar(struct pra__columns *c, struct pra__kept *k, uint32_t exemplar,
                        uint32_t label_count)
{
    uint32_t *offsets = PRA__COLUMN(uint32_t, c, PRA__COL_EXEMPLAR_LABEL_OFFSETS);
    const uint32_t start = offsets[exemplar];
    offsets[k->len[PRA__COL_EXEMPLAR_TIMESTAMPS]] = (uint32_t)k->len[PRA__COL_EXEMPLAR_LABELS];
    keep(c, k, PRA__COL_EXEMPLAR_TIMESTAMPS, exemplar, 1);
    keep(c, k, PRA__COL_EXEMPLAR_VALUES, exemplar, 1);
    keep(c, k, PRA__COL_EXEMPLAR_LABELS, start, label_count);
}

void pra__keep_histogram(struct pra__columns *c, struct pra__kept *k, uint32_t histogram)
{
    pra_histogram *h = PRA__COLUMN(pra_histogram, c, PRA__COL_HISTOGRAMS);
    h += k->len[PRA__COL_HISTOGRAMS];
    keep(c, k, PRA__COL_HISTOGRAMS, histogram, 1);
    for (int b = 0; b < PRA__BUCKET_COLUMNS; b++) {
        pra_range *buckets = pra__bucket_range(h, b);
        const uint32_t start = (uint32_t)k->len[pra__bucket_columns[b]];
        keep(c, k, pra__bucket_columns[b], buckets->start, buckets->count);
        buckets->start = start;
    }
}

static void keep_entries(struct pra__columns *c, struct pra__kept *k, size_t index, int series_kept)
{
    pra_metadata *entries = PRA__COLUMN(pra_metadata, c, PRA__COL_METADATA);
    const size_t count = c->col[PRA__COL_METADATA].len;
    for (; k->metadata_read < count; k->metadata_read++) {
        pra_metadata entry = entries[k->metadata_read];
        if (entry.series != UINT32_MAX) {
            if (entry.series > index)
                return;
            if (!series_kept)
                continue;
            entry.series = (uint32_t)(k->series - 1);
        }
        entries[k->len[PRA__COL_METADATA]++] = entry;
    }
}

void pra__keep_metadata(struct pra__columns *c, struct pra__kept *k, size_t index, int series_kept)
{
    if (k->metadata_read < c->col[PRA__COL_METADATA].len)
        keep_entries(c, k, index, series_kept);
}

/* ---- end */

void pra__keep_end(struct pra__columns *c, struct pra__kept *k)
{
    static const enum pra__column_id cut[] = {
        PRA__COL_LABELS,          PRA__COL_TIMESTAMPS, PRA__COL_EXEMPLAR_TIMESTAMPS,
        PRA__COL_EXEMPLAR_LABELS, PRA__COL_HISTOGRAMS, PRA__COL_METADATA,
    };
    uint32_t *offsets = PRA__COLUMN(uint32_t, c, PRA__COL_EXEMPLAR_LABEL_OFFSETS);
    keep_entries(c, k, SIZE_MAX, 0);
    for (size_t i = 0; i < sizeof(cut) / sizeof(cut[0]); i++)
        c->col[cut[i]].len = k->len[cut[i]];
    for (int b = 0; b < PRA__BUCKET_COLUMNS; b++)
        c->col[pra__bucket_columns[b]].len = k->len[pra__bucket_columns[b]];
    if (c->col[PRA__COL_LABEL_REFS].len)
        c->col[PRA__COL_LABEL_REFS].len = k->len[PRA__COL_LABELS];
    if (c->col[PRA__COL_START_TIMESTAMPS].len)
        c->col[PRA__COL_START_TIMESTAMPS].len = k->len[PRA__COL_TIMESTAMPS];
    if (offsets)
        offsets[k->len[PRA__COL_EXEMPLAR_TIMESTAMPS]] = (uint32_t)k->len[PRA__COL_EXEMPLAR_LABELS];
    c->series = k->series;
    (void)pra__columns_mark_series(c); /* there is room: it never moves up */
}

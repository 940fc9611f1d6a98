/* SPDX-License-Identifier: Apache-2.0 */
#include "message/write_copy.h"

#include "base/alloc.h"
#include "base/error.h"

void pra__write_mark(const pra_write_request *req, struct pra__write_mark *mark)
{
    mark->series = req->cols.series;
    for (int i = 0; i < PRA__COL_COUNT; i++)
        mark->len[i] = req->cols.col[i].len;
}

void pra__write_back(pra_write_request *req, const struct pra__write_mark *mark)
{
    struct pra__columns *c = &req->cols;
    for (int i = 0; i < PRA__COL_COUNT; i++)
        c->col[i].len = mark->len[i];
    c->base_len = mark->len[PRA__COL_TEXT];
    c->series = mark->series;
    if (c->series)
        (void)pra__columns_mark_series(c); /* there is room */
    uint32_t *exemplar_labels = PRA__COLUMN(uint32_t, c, PRA__COL_EXEMPLAR_LABEL_OFFSETS);
    if (exemplar_labels)
        exemplar_labels[mark->len[PRA__COL_EXEMPLAR_TIMESTAMPS]] =
            (uint32_t)mark->len[PRA__COL_EXEMPLAR_LABELS];
}

/* ---- text */

static pra_str text_at(const pra_columns *c, pra_span span)
{
    return span.len ? (pra_str){c->base + span.off, span.len} : (pra_str){NULL, 0};
}

int pra__copy_text(struct pra__copier *k)
{
    const pra_str all = {k->from->base, k->from->base_len};
    int rc = pra__write_room_for_text(&k->to->cols, all.len);
    if (rc == PRA_OK) {
        k->shift = pra__write_add_text(&k->to->cols, all).off;
        k->has_text = 1;
    }
    return rc;
}

/* A string of from. */
static pra_span copy_span(struct pra__copier *k, pra_span span)
{
    if (k->has_text)
        return (pra_span){span.off + k->shift, span.len};
    return pra__write_add_text(&k->to->cols, text_at(k->from, span));
}

static pra_span copy_str(struct pra__copier *k, pra_str s)
{
    const uintptr_t at = (uintptr_t)s.ptr, base = (uintptr_t)k->from->base;
    if (k->has_text && at >= base && at - base < k->from->base_len)
        return (pra_span){(uint32_t)(at - base) + k->shift, (uint32_t)s.len};
    return pra__write_add_text(&k->to->cols, s);
}

/* ---- labels */

int pra__copy_begin(struct pra__copier *k, size_t index, size_t labels, size_t bytes)
{
    struct pra__columns *c = &k->to->cols;
    struct pra__column *column = &c->col[PRA__COL_LABELS];
    int rc = PRA_OK;
    if (k->count && index != k->first + k->count)
        rc = pra__copy_flush(k);
    if (labels > UINT32_MAX - column->len)
        return PRA_ERR_MEMORY_BUDGET;
    if (rc == PRA_OK)
        rc = pra__columns_reserve(c, PRA__COL_LABEL_OFFSETS, PRA__COL_HISTOGRAM_OFFSETS,
                                  c->series + 2);
    if (rc == PRA_OK)
        rc = pra__columns_room(c, PRA__COL_LABELS, labels);
    if (rc == PRA_OK && bytes)
        rc = pra__write_room_for_text(c, bytes);
    if (rc)
        return rc;
    if (k->count == 0)
        k->first = index;
    PRA__COLUMN(uint32_t, c, PRA__COL_LABEL_OFFSETS)[c->series] = (uint32_t)column->len;
    return PRA_OK;
}

void pra__copy_label(struct pra__copier *k, pra_str name, pra_str value)
{
    struct pra__column *col = &k->to->cols.col[PRA__COL_LABELS];
    pra_label_span *out = (pra_label_span *)col->data + col->len++;
    out->name = copy_str(k, name);
    out->value = copy_str(k, value);
}

void pra__copy_own_labels(struct pra__copier *k, size_t index)
{
    struct pra__column *col = &k->to->cols.col[PRA__COL_LABELS];
    const uint32_t shift = k->shift;
    const size_t start = k->from->label_offsets[index];
    const size_t count = k->from->label_offsets[index + 1] - start;
    const pra_label_span *from = k->from->labels + start;
    pra_label_span *out = (pra_label_span *)col->data + col->len;
    for (size_t i = 0; i < count; i++)
        out[i] = (pra_label_span){{from[i].name.off + shift, from[i].name.len},
                                  {from[i].value.off + shift, from[i].value.len}};
    col->len += count;
}

void pra__copy_end(struct pra__copier *k)
{
    k->count++;
    k->to->cols.series++;
}

/* ---- data, of a run of series */

/* The offsets of the run in one column, which began at before in what it is copied to. */
static void copy_offsets(struct pra__copier *k, enum pra__column_id id, const uint32_t *from,
                         size_t before)
{
    struct pra__columns *c = &k->to->cols;
    uint32_t *to = PRA__COLUMN(uint32_t, c, id) + c->series - k->count;
    const uint32_t shift = (uint32_t)before - from[0];
    for (size_t i = 0; i < k->count; i++)
        to[i] = from[i] + shift;
}

static int copy_samples(struct pra__copier *k)
{
    const pra_columns *from = k->from;
    const uint32_t *offsets = from->sample_offsets + k->first;
    const size_t start = offsets[0], count = offsets[k->count] - start;
    const int64_t *starts = from->start_timestamps_ms;
    copy_offsets(k, PRA__COL_SAMPLE_OFFSETS, offsets, k->to->cols.col[PRA__COL_TIMESTAMPS].len);
    if (count == 0)
        return PRA_OK;
    return pra_write_request_add_samples(k->to, from->timestamps_ms + start, from->values + start,
                                         starts ? starts + start : NULL, count);
}

static int copy_histograms(struct pra__copier *k)
{
    const uint32_t *offsets = k->from->histogram_offsets + k->first;
    int rc = PRA_OK;
    copy_offsets(k, PRA__COL_HISTOGRAM_OFFSETS, offsets, k->to->cols.col[PRA__COL_HISTOGRAMS].len);
    for (size_t i = offsets[0]; rc == PRA_OK && i < offsets[k->count]; i++)
        rc = pra_write_request_add_histogram(k->to, k->from, i);
    return rc;
}

static size_t labels_bytes(const pra_label_span *labels, size_t start, size_t end)
{
    size_t bytes = 0;
    for (size_t i = start; i < end; i++)
        bytes += (size_t)labels[i].name.len + labels[i].value.len;
    return bytes;
}

static int copy_exemplar(struct pra__copier *k, size_t i)
{
    const pra_columns *from = k->from;
    const size_t start = from->exemplar_label_offsets[i], end = from->exemplar_label_offsets[i + 1];
    struct pra__columns *c = &k->to->cols;
    struct pra__column *labels = &c->col[PRA__COL_EXEMPLAR_LABELS];
    int rc = pra__exemplar_begin(c);
    if (rc == PRA_OK)
        rc = pra__columns_room(c, PRA__COL_EXEMPLAR_LABELS, end - start);
    if (rc == PRA_OK && !k->has_text)
        rc = pra__write_room_for_text(c, labels_bytes(from->exemplar_labels, start, end));
    if (rc)
        return rc;
    for (size_t j = start; j < end; j++) {
        pra_label_span *to = (pra_label_span *)labels->data + labels->len++;
        to->name = copy_span(k, from->exemplar_labels[j].name);
        to->value = copy_span(k, from->exemplar_labels[j].value);
    }
    pra__exemplar_end(c, from->exemplar_timestamps_ms[i], &from->exemplar_values[i]);
    return PRA_OK;
}

static int copy_exemplars(struct pra__copier *k)
{
    const uint32_t *offsets = k->from->exemplar_offsets + k->first;
    int rc = PRA_OK;
    copy_offsets(k, PRA__COL_EXEMPLAR_OFFSETS, offsets,
                 k->to->cols.col[PRA__COL_EXEMPLAR_TIMESTAMPS].len);
    for (size_t i = offsets[0]; rc == PRA_OK && i < offsets[k->count]; i++)
        rc = copy_exemplar(k, i);
    return rc;
}

static int copy_entry(struct pra__copier *k, const pra_metadata *from, uint32_t series)
{
    struct pra__columns *c = &k->to->cols;
    const size_t bytes = (size_t)from->family.len + from->help.len + from->unit.len;
    int rc = pra__columns_room(c, PRA__COL_METADATA, 1);
    if (rc == PRA_OK && !k->has_text)
        rc = pra__write_room_for_text(c, bytes);
    if (rc)
        return rc;
    pra_metadata entry = {.type = from->type, .series = series};
    entry.family = copy_span(k, from->family);
    entry.help = copy_span(k, from->help);
    entry.unit = copy_span(k, from->unit);
    PRA__COLUMN(pra_metadata, c, PRA__COL_METADATA)[c->col[PRA__COL_METADATA].len++] = entry;
    return PRA_OK;
}

/* The first entry of series number index or a later one. Those of series are in order; where
 * others stand between them, one after the other is looked at. */
static size_t first_entry(const pra_columns *c, size_t index)
{
    size_t low = 0, high = c->metadata_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (c->metadata[middle].series == UINT32_MAX) {
            for (low = 0; low < high && (c->metadata[low].series == UINT32_MAX ||
                                         c->metadata[low].series < index);)
                low++;
            return low;
        }
        if (c->metadata[middle].series < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int copy_metadata(struct pra__copier *k)
{
    const pra_columns *c = k->from;
    const size_t to = k->to->cols.series - k->count;
    size_t i = k->entry ? k->entry : first_entry(c, k->first);
    int rc = PRA_OK;
    for (; rc == PRA_OK && i < c->metadata_count; i++) {
        const size_t series = c->metadata[i].series;
        if (series == UINT32_MAX || series < k->first)
            continue;
        if (series >= k->first + k->count)
            break;
        rc = copy_entry(k, &c->metadata[i], (uint32_t)(to + series - k->first));
    }
    k->entry = i;
    return rc;
}

int pra__copy_flush(struct pra__copier *k)
{
    if (k->count == 0)
        return PRA_OK;
    int rc = copy_samples(k);
    if (rc == PRA_OK)
        rc = copy_histograms(k);
    if (rc == PRA_OK)
        rc = copy_exemplars(k);
    if (rc == PRA_OK)
        rc = copy_metadata(k);
    k->count = 0;
    return rc ? rc : pra__columns_mark_series(&k->to->cols);
}

int pra__copy_families(struct pra__copier *k)
{
    int rc = PRA_OK;
    for (size_t i = 0; rc == PRA_OK && i < k->from->metadata_count; i++)
        if (k->from->metadata[i].series == UINT32_MAX)
            rc = copy_entry(k, &k->from->metadata[i], UINT32_MAX);
    return rc;
}

/* ---- one series */

static int add_bytes(size_t *bytes, pra_str s)
{
    if ((!s.ptr && s.len) || s.len > UINT32_MAX - *bytes)
        return PRA_ERR_INVALID_ARG;
    *bytes += s.len;
    return PRA_OK;
}

static int copy_under(struct pra__copier *k, size_t index, const pra_label *labels, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        if (add_bytes(&bytes, labels[i].name) || add_bytes(&bytes, labels[i].value))
            return PRA_ERR_INVALID_ARG;
    int rc = pra__copy_begin(k, index, count, bytes);
    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++)
        pra__copy_label(k, labels[i].name, labels[i].value);
    pra__copy_end(k);
    return PRA_OK;
}

/* The stretch of text that all of these labels are in, where there is little else in it, as in
 * messages of 1.0; else, or if one is empty, nothing. */
static pra_span stretch_of(const pra_label_span *labels, size_t count, size_t bytes)
{
    uint32_t low = UINT32_MAX, high = 0;
    for (size_t i = 0; i < count; i++) {
        const pra_span both[] = {labels[i].name, labels[i].value};
        for (int j = 0; j < 2; j++) {
            if (both[j].len == 0)
                return (pra_span){0, 0};
            low = both[j].off < low ? both[j].off : low;
            high = both[j].off + both[j].len > high ? both[j].off + both[j].len : high;
        }
    }
    const size_t else_at_most = bytes / 4 + 6 * count; /* 6: what 1.0 has around a label */
    return count && high - low <= bytes + else_at_most ? (pra_span){low, high - low}
                                                       : (pra_span){0, 0};
}

static int copy_series(struct pra__copier *k, size_t index)
{
    const pra_columns *c = k->from;
    const size_t start = c->label_offsets[index], end = c->label_offsets[index + 1];
    const size_t bytes = labels_bytes(c->labels, start, end);
    const pra_span stretch =
        start < end ? stretch_of(c->labels + start, end - start, bytes) : (pra_span){0, 0};
    int rc = pra__copy_begin(k, index, end - start, stretch.len ? stretch.len : bytes);
    if (rc)
        return rc;
    if (stretch.len) {
        k->shift = pra__write_add_text(&k->to->cols, text_at(c, stretch)).off - stretch.off;
        pra__copy_own_labels(k, index);
    } else {
        for (size_t i = start; i < end; i++)
            pra__copy_label(k, text_at(c, c->labels[i].name), text_at(c, c->labels[i].value));
    }
    pra__copy_end(k);
    return PRA_OK;
}

int pra_write_request_add_copy(pra_write_request *req, const pra_columns *columns, size_t index,
                               const pra_label *labels, size_t count)
{
    struct pra__write_mark mark;
    struct pra__copier k = {.to = req, .from = columns};
    int rc = pra__write_request_open(req);
    if (rc)
        return rc;
    if (!columns || columns->size < sizeof(*columns) || index >= columns->series_count ||
        (!labels && count))
        return PRA_ERR_INVALID_ARG;
    pra__write_mark(req, &mark);
    rc = labels ? copy_under(&k, index, labels, count) : copy_series(&k, index);
    if (rc == PRA_OK)
        rc = pra__copy_flush(&k);
    if (rc)
        pra__write_back(req, &mark);
    return rc == PRA_ERR_MEMORY_BUDGET ? PRA_ERR_INVALID_ARG : rc;
}

/* ---- all series, by their fingerprints */

struct part {
    struct pra__write_mark mark;
    struct pra__copier k;
};

static int split(const pra_columns *from, struct part *parts, size_t count)
{
    int rc = PRA_OK;
    for (size_t i = 0; rc == PRA_OK && i < from->series_count; i++) {
        const uint32_t *labels = from->label_offsets + i;
        const uint64_t hash = pra_labels_fingerprint(
            from->base, from->labels ? from->labels + labels[0] : NULL, labels[1] - labels[0]);
        rc = copy_series(&parts[hash % count].k, i);
    }
    for (size_t i = 0; rc == PRA_OK && i < count; i++) {
        rc = pra__copy_flush(&parts[i].k);
        if (rc == PRA_OK)
            rc = pra__copy_families(&parts[i].k);
    }
    return rc;
}

static int check_parts(const pra_write_request *req, pra_write_request *const *out, size_t count,
                       pra_error *err)
{
    for (size_t i = 0; i < count; i++) {
        int rc = out[i] && out[i] != req ? pra__write_request_open(out[i]) : PRA_ERR_INVALID_ARG;
        for (size_t j = 0; rc == PRA_OK && j < i; j++)
            rc = out[j] == out[i] ? PRA_ERR_INVALID_ARG : PRA_OK;
        if (rc)
            return pra__error(err, rc, 0,
                              "request %zu of those to split into is missing, decoded, shared, or "
                              "there twice",
                              i);
    }
    return PRA_OK;
}

int pra_write_request_split(const pra_write_request *req, pra_write_request *const *out,
                            size_t count, pra_error *err)
{
    if (!req || !out || !count)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "a request to split is missing");
    pra_columns from = {.size = sizeof(from)};
    int rc = pra_write_request_columns(req, &from);
    if (rc)
        return pra_error_set_cstr(err, rc, "the request is in use by a callback");
    rc = check_parts(req, out, count, err);
    if (rc)
        return rc;
    struct part *parts = NULL;
    if (count <= SIZE_MAX / sizeof(*parts))
        parts = pra__malloc(&req->cols.alloc, count * sizeof(*parts));
    if (!parts)
        return pra__nomem(err);
    for (size_t i = 0; i < count; i++) {
        parts[i].k = (struct pra__copier){.to = out[i], .from = &from};
        pra__write_mark(out[i], &parts[i].mark);
    }
    rc = split(&from, parts, count);
    for (size_t i = 0; rc && i < count; i++)
        pra__write_back(out[i], &parts[i].mark);
    pra__free(&req->cols.alloc, parts, count * sizeof(*parts));
    if (rc == PRA_ERR_MEMORY_BUDGET)
        return pra_error_set_cstr(err, rc, "a part of the request takes more than 4 GiB");
    return rc ? pra__nomem(err) : PRA_OK;
}

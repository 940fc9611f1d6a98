/* SPDX-License-Identifier: Apache-2.0 */
#include "message/write_v2_plain.h"

#include <pra_proto/write_v2.pb.h>

#include "message/series_decode.h"

enum {
    KEY_SERIES = prom2_Request_timeseries_tag << 3 | PRA__WIRE_BYTES,
    KEY_REFS = prom2_TimeSeries_labels_refs_tag << 3 | PRA__WIRE_BYTES,
    KEY_SAMPLE = prom2_TimeSeries_samples_tag << 3 | PRA__WIRE_BYTES,
    KEY_VALUE = prom2_Sample_value_tag << 3 | PRA__WIRE_FIXED64,
    KEY_TIMESTAMP = prom2_Sample_timestamp_tag << 3 | PRA__WIRE_VARINT,
    KEY_START = prom2_Sample_start_timestamp_tag << 3 | PRA__WIRE_VARINT,
    KEY_METADATA = prom2_TimeSeries_metadata_tag << 3 | PRA__WIRE_BYTES,
    KEY_TYPE = prom2_Metadata_type_tag << 3 | PRA__WIRE_VARINT,
    KEY_HELP = prom2_Metadata_help_ref_tag << 3 | PRA__WIRE_VARINT,
    KEY_UNIT = prom2_Metadata_unit_ref_tag << 3 | PRA__WIRE_VARINT
};

/* One or two bytes; size 0 if it is longer. At least two bytes can be loaded. */
struct short_varint {
    uint32_t value;
    uint32_t size;
};

static inline struct short_varint load_short(const uint8_t *p)
{
    const uint32_t first = p[0], second = p[1];
    if (first < 0x80)
        return (struct short_varint){first, 1};
    return (struct short_varint){(first & 0x7F) | second << 7, second < 0x80 ? 2 : 0};
}

/* What the loop for such series has at hand. */
struct plain {
    const uint8_t *stop; /* of the message */
    const pra_span *symbols;
    size_t symbol_count;
    pra_label_span *labels;
    pra_symbol_refs *refs;
    size_t label_count; /* in the column; the others likewise */
    size_t label_cap;
    size_t label_max; /* of one series */
    int64_t *timestamps;
    double *values;
    int64_t *starts; /* NULL as long as no sample has one */
    size_t sample_count;
    size_t sample_cap;
    pra_metadata *metadata;
    size_t metadata_count;
    size_t metadata_cap;
};

/* As one load and one store, which the compiler does not see by itself. */
static inline void copy_span(pra_span *to, const pra_span *from)
{
    uint64_t both;
    memcpy(&both, from, sizeof(both));
    memcpy(to, &both, sizeof(both));
}

/* Labels from the references in [p, end). Returns 0 if they have another shape. */
static inline int plain_refs(struct plain *s, const uint8_t *p, const uint8_t *end)
{
    const size_t most = (size_t)(end - p) / 2;
    size_t n = s->label_count;
    if (most > s->label_cap - n || most > s->label_max)
        return 0;
    while (end - p >= 2) {
        const struct short_varint name = load_short(p);
        const struct short_varint value = load_short(p + name.size);
        if (!name.size || !value.size || name.value >= s->symbol_count ||
            value.value >= s->symbol_count)
            return 0;
        copy_span(&s->labels[n].name, &s->symbols[name.value]);
        copy_span(&s->labels[n].value, &s->symbols[value.value]);
        s->refs[n++] = (pra_symbol_refs){name.value, value.value};
        p += name.size + value.size;
    }
    s->label_count = n;
    return p == end;
}

/* As pra__plain_sample, with a start timestamp behind (18 …) or without. */
static inline size_t sample_with_start(const uint8_t *p, size_t left, int64_t *timestamp_ms,
                                       double *value, int64_t *start_ms)
{
    const size_t size = (size_t)p[1] + 2;
    size_t at = 2;
    *value = 0;
    *start_ms = 0;
    if (p[0] != KEY_SAMPLE || p[1] > 127 || size > left)
        return 0;
    if (p[at] == KEY_VALUE) {
        const uint64_t bits = pra__load64(p + 3);
        memcpy(value, &bits, sizeof(*value));
        at += 9;
    }
    const uint64_t raw = pra__load64(p + at + 1);
    const uint64_t last = ~raw & UINT64_C(0x8080808080808080);
    if (at >= size || p[at] != KEY_TIMESTAMP || last == 0)
        return 0;
    const size_t bytes = (size_t)__builtin_ctzll(last) / 8 + 1;
    *timestamp_ms = (int64_t)pra__join_varint(raw, bytes);
    at += 1 + bytes;
    if (at >= size)
        return at == size ? size : 0;
    return p[at] == KEY_START && pra__varint_of_size(p + at + 1, size - at - 1, start_ms) ? size
                                                                                          : 0;
}

/* Samples from p on. Returns where they end. */
static inline const uint8_t *plain_samples(struct plain *s, const uint8_t *p, const uint8_t *end)
{
    while (p < end && s->sample_count < s->sample_cap) {
        const size_t i = s->sample_count, left = (size_t)(end - p);
        const size_t size =
            s->starts ? sample_with_start(p, left, &s->timestamps[i], &s->values[i], &s->starts[i])
                      : pra__plain_sample(p, left, &s->timestamps[i], &s->values[i]);
        if (size == 0)
            break;
        s->sample_count++;
        p += size;
    }
    return p;
}

/* An entry for the series from the fields in [p, end), where anything is said. Returns 0 if they
 * have another shape. */
static inline int plain_metadata(struct plain *s, const uint8_t *p, const uint8_t *end,
                                 size_t series)
{
    uint32_t type = 0, help = 0, unit = 0;
    while (end - p >= 2) {
        const struct short_varint v = load_short(p + 1);
        if (!v.size)
            return 0;
        switch (p[0]) {
        case KEY_TYPE:
            type = v.value;
            break;
        case KEY_HELP:
            help = v.value;
            break;
        case KEY_UNIT:
            unit = v.value;
            break;
        default:
            return 0;
        }
        p += 1 + v.size;
    }
    if (p != end || help >= s->symbol_count || unit >= s->symbol_count ||
        s->metadata_count == s->metadata_cap)
        return 0;
    pra_metadata *entry = &s->metadata[s->metadata_count];
    entry->type = (int32_t)type;
    entry->series = (uint32_t)series;
    entry->family = (pra_span){0, 0};
    copy_span(&entry->help, &s->symbols[help]);
    copy_span(&entry->unit, &s->symbols[unit]);
    s->metadata_count += type || s->symbols[help].len || s->symbols[unit].len;
    return 1;
}

/* The field of one series at p. Returns its end, or NULL if it has another shape. */
static inline const uint8_t *plain_series(struct plain *s, const uint8_t *p, size_t series)
{
    if (s->stop - p < 4 || p[0] != KEY_SERIES)
        return NULL;
    const struct short_varint len = load_short(p + 1);
    p += 1 + len.size;
    if (!len.size || (size_t)(s->stop - p) < (size_t)len.value + PRA__SAMPLE_LOAD)
        return NULL;
    const uint8_t *end = p + len.value;
    if (len.value < 2 || p[0] != KEY_REFS || p[1] > 127 || p[1] > end - p - 2)
        return NULL;
    const uint8_t *refs_end = p + 2 + p[1];
    if (!plain_refs(s, p + 2, refs_end))
        return NULL;
    p = plain_samples(s, refs_end, end);
    if (p == end)
        return end;
    if (end - p < 2 || p[0] != KEY_METADATA || p[1] > 127 || p[1] != end - p - 2)
        return NULL;
    return p[1] == 0 || plain_metadata(s, p + 2, end, series) ? end : NULL;
}

/* If there are start timestamps they go beside the samples. Returns 0 if there is no room for that.
 */
static int open_starts(struct plain *s, struct pra__columns *c)
{
    const struct pra__column *starts = &c->col[PRA__COL_START_TIMESTAMPS];
    if (starts->len == 0)
        return 1;
    if (pra__columns_fill_starts(c, s->sample_count))
        return 0;
    s->starts = starts->data;
    s->sample_cap = starts->cap < s->sample_cap ? starts->cap : s->sample_cap;
    return 1;
}

static struct plain open_plain(const struct pra__decoder *d)
{
    struct pra__columns *c = d->cols;
    const uint64_t label_max = d->limits->max_labels_per_series;
    return (struct plain){
        .stop = d->stop,
        .symbols = PRA__COLUMN(pra_span, c, PRA__COL_SYMBOLS),
        .symbol_count = c->col[PRA__COL_SYMBOLS].len,
        .labels = PRA__COLUMN(pra_label_span, c, PRA__COL_LABELS),
        .refs = PRA__COLUMN(pra_symbol_refs, c, PRA__COL_LABEL_REFS),
        .label_count = c->col[PRA__COL_LABELS].len,
        .label_cap = pra__columns_cap(c, PRA__COL_LABELS, PRA__COL_LABEL_REFS),
        .label_max = label_max < SIZE_MAX ? (size_t)label_max : SIZE_MAX,
        .timestamps = PRA__COLUMN(int64_t, c, PRA__COL_TIMESTAMPS),
        .values = PRA__COLUMN(double, c, PRA__COL_VALUES),
        .sample_count = c->col[PRA__COL_TIMESTAMPS].len,
        .sample_cap = pra__columns_cap(c, PRA__COL_TIMESTAMPS, PRA__COL_VALUES),
        .metadata = PRA__COLUMN(pra_metadata, c, PRA__COL_METADATA),
        .metadata_count = c->col[PRA__COL_METADATA].len,
        .metadata_cap = c->col[PRA__COL_METADATA].cap,
    };
}

void pra__write_v2_plain(struct pra__decoder *d, size_t longest)
{
    struct pra__columns *c = d->cols;
    struct plain s = open_plain(d);
    const size_t cap = pra__columns_cap(c, PRA__COL_LABEL_OFFSETS, PRA__COL_HISTOGRAM_OFFSETS);
    uint32_t *label_offsets = PRA__COLUMN(uint32_t, c, PRA__COL_LABEL_OFFSETS);
    uint32_t *sample_offsets = PRA__COLUMN(uint32_t, c, PRA__COL_SAMPLE_OFFSETS);
    uint32_t *exemplar_offsets = PRA__COLUMN(uint32_t, c, PRA__COL_EXEMPLAR_OFFSETS);
    uint32_t *histogram_offsets = PRA__COLUMN(uint32_t, c, PRA__COL_HISTOGRAM_OFFSETS);
    const uint32_t exemplar = (uint32_t)c->col[PRA__COL_EXEMPLAR_TIMESTAMPS].len;
    const uint32_t histogram = (uint32_t)c->col[PRA__COL_HISTOGRAMS].len;
    if (longest > d->limits->max_label_name_bytes || longest > d->limits->max_label_value_bytes ||
        !s.symbol_count || s.symbols[0].len || !open_starts(&s, c))
        return;
    const uint8_t *p = d->in.pos;
    size_t i = c->series;
    while (i < cap) {
        label_offsets[i] = (uint32_t)s.label_count; /* stay if the series is of another shape */
        sample_offsets[i] = (uint32_t)s.sample_count;
        exemplar_offsets[i] = exemplar;
        histogram_offsets[i] = histogram;
        const uint8_t *end = plain_series(&s, p, i);
        if (!end) {
            s.label_count = label_offsets[i];
            s.sample_count = sample_offsets[i];
            break;
        }
        i++;
        p = end;
    }
    d->in.pos = p;
    c->series = i;
    c->col[PRA__COL_LABELS].len = s.label_count;
    c->col[PRA__COL_TIMESTAMPS].len = s.sample_count;
    if (s.starts)
        c->col[PRA__COL_START_TIMESTAMPS].len = s.sample_count;
    c->col[PRA__COL_METADATA].len = s.metadata_count; /* comes last, cannot be too many */
}

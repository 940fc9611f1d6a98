/* SPDX-License-Identifier: Apache-2.0 */
/* Columns to remote write 2.0. The symbols stand before the series that use them, so there are two
 * passes: the first numbers all strings and notes the numbers, the second writes them. */
#include <string.h>

#include <pra_proto/write_v2.pb.h>

#include "base/buffer.h"
#include "message/metadata.h"
#include "message/series_encode.h"
#include "message/strings.h"
#include "message/write_request.h"
#include "wire/tlv.h"

struct encoder {
    const pra_columns *c;
    struct pra__strings strings;
    int families;         /* metadata of families is in strings */
    size_t next_own;      /* first entry of metadata that is not of an earlier series */
    size_t series_before; /* its first note */
    const uint32_t *at;   /* second pass: the next reference */
};

/* ---- first pass. What is noted of a series: the references of its labels, of the labels of each
 * of its exemplars, and type, help and unit (all 0 without metadata). */

static int note(struct encoder *e, uint32_t v)
{
    struct pra__columns *c = e->strings.c;
    int rc = pra__columns_room(c, PRA__COL_STRING_REFS, 1);
    if (rc == PRA_OK)
        PRA__COLUMN(uint32_t, c, PRA__COL_STRING_REFS)[c->col[PRA__COL_STRING_REFS].len++] = v;
    return rc;
}

static int note_string(struct encoder *e, pra_span span)
{
    uint32_t index;
    int rc = pra__strings_add(&e->strings, span, &index);
    if (rc)
        return rc;
    pra__strings_at(&e->strings, index)->number = 1; /* used */
    return note(e, index);
}

/* As note_string. Most strings of a series stand at the same place in the series before: like is
 * the number of the note that may be of the same string; nothing need be hashed then. */
static int note_alike(struct encoder *e, pra_span span, size_t like)
{
    const struct pra__columns *c = e->strings.c;
    if (like >= c->col[PRA__COL_STRING_REFS].len)
        return note_string(e, span);
    const uint32_t index = PRA__COLUMN(uint32_t, c, PRA__COL_STRING_REFS)[like];
    if (index >= pra__strings_count(&e->strings)) /* that of a type, not of a string */
        return note_string(e, span);
    const pra_span other = pra__strings_at(&e->strings, index)->span;
    const char *base = e->c->base;
    if (index == 0 || other.len != span.len ||
        memcmp(base + other.off, base + span.off, span.len) != 0)
        return note_string(e, span);
    pra__strings_at(&e->strings, index)->number = 1;
    return note(e, index);
}

/* like: number of the first note of labels that these may be like. */
static int note_labels(struct encoder *e, const pra_label_span *labels, size_t start, size_t end,
                       size_t like)
{
    int rc = PRA_OK;
    for (size_t i = start; rc == PRA_OK && i < end; i++, like += 2) {
        rc = note_alike(e, labels[i].name, like);
        if (rc == PRA_OK)
            rc = note_alike(e, labels[i].value, like + 1);
    }
    return rc;
}

/* The last entry of the series itself, else that of its family. */
static const pra_metadata *metadata_of(struct encoder *e, size_t series)
{
    const pra_metadata *own = NULL;
    for (; e->next_own < e->c->metadata_count; e->next_own++) {
        const pra_metadata *m = &e->c->metadata[e->next_own];
        if (m->series == UINT32_MAX)
            continue;
        if (m->series > series)
            break;
        own = m->series == series ? m : own;
    }
    if (own || !e->families)
        return own;
    return pra__metadata_of_name(e->c, &e->strings, pra__metric_name(e->c, series));
}

static int note_metadata(struct encoder *e, size_t series)
{
    static const pra_metadata none = {0};
    const pra_metadata *found = metadata_of(e, series);
    const pra_metadata m = found ? *found : none;
    int rc = note(e, (uint32_t)m.type);
    if (rc == PRA_OK)
        rc = note_string(e, m.help);
    return rc ? rc : note_string(e, m.unit);
}

static int note_series(struct encoder *e, size_t series)
{
    const pra_columns *c = e->c;
    const size_t first = e->strings.c->col[PRA__COL_STRING_REFS].len;
    int rc = note_labels(e, c->labels, c->label_offsets[series], c->label_offsets[series + 1],
                         e->series_before);
    e->series_before = first;
    for (size_t i = c->exemplar_offsets[series];
         rc == PRA_OK && i < c->exemplar_offsets[series + 1]; i++)
        rc = note_labels(e, c->exemplar_labels, c->exemplar_label_offsets[i],
                         c->exemplar_label_offsets[i + 1], SIZE_MAX / 2);
    return rc ? rc : note_metadata(e, series);
}

/* Of entries for the same family the last counts. */
static int gather_families(struct encoder *e)
{
    const pra_columns *c = e->c;
    for (size_t i = 0; i < c->metadata_count; i++) {
        uint32_t index;
        if (c->metadata[i].series != UINT32_MAX || c->metadata[i].family.len == 0)
            continue;
        int rc = pra__strings_add(&e->strings, c->metadata[i].family, &index);
        if (rc)
            return rc;
        pra__strings_at(&e->strings, index)->metadata = (uint32_t)i + 1;
        e->families = 1;
    }
    return PRA_OK;
}

static int note_all(struct encoder *e)
{
    e->strings.c->col[PRA__COL_STRING_REFS].len = 0;
    int rc = gather_families(e);
    for (size_t i = 0; rc == PRA_OK && i < e->c->series_count; i++)
        rc = note_series(e, i);
    return rc;
}

/* ---- symbols */

/* Numbers the strings that are used, from 1; the empty one is always a symbol, number 0. */
static size_t number_symbols(struct encoder *e)
{
    size_t size = 0;
    uint32_t number = 0;
    for (uint32_t i = 0; i < pra__strings_count(&e->strings); i++) {
        struct pra__string *s = pra__strings_at(&e->strings, i);
        if (i && !s->number)
            continue;
        s->number = number++;
        size += pra__bytes_field_size(prom2_Request_symbols_tag, s->span.len);
    }
    return size;
}

static int encode_symbols(struct encoder *e, pra_buffer *out)
{
    int rc = pra__buffer_reserve(out, number_symbols(e));
    if (rc)
        return rc;
    uint8_t *p = out->data + out->len;
    for (uint32_t i = 0; i < pra__strings_count(&e->strings); i++) {
        const struct pra__string *s = pra__strings_at(&e->strings, i);
        if (i && !s->number)
            continue;
        p = pra__put_head(p, prom2_Request_symbols_tag, s->span.len);
        p = pra__put_bytes(p, e->c->base + s->span.off, s->span.len);
    }
    out->len = (size_t)(p - out->data);
    return PRA_OK;
}

/* ---- second pass */

static uint32_t symbol(const struct encoder *e, uint32_t index)
{
    return pra__strings_at(&e->strings, index)->number;
}

static size_t refs_bytes(const struct encoder *e, const uint32_t *refs, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += pra__varint_size(symbol(e, refs[i]));
    return size;
}

/* size is refs_bytes. The numbers of series and exemplar are the same. */
static uint8_t *put_refs(uint8_t *p, const struct encoder *e, const uint32_t *refs, size_t count,
                         size_t size)
{
    if (count == 0)
        return p;
    p = pra__put_head(p, prom2_TimeSeries_labels_refs_tag, size);
    for (size_t i = 0; i < count; i++)
        p = pra__put_varint(p, symbol(e, refs[i]));
    return p;
}

_Static_assert((int)prom2_TimeSeries_labels_refs_tag == (int)prom2_Exemplar_labels_refs_tag,
               "put_refs is for both");

static size_t exemplar_refs(const pra_columns *c, size_t i)
{
    return 2 * (size_t)(c->exemplar_label_offsets[i + 1] - c->exemplar_label_offsets[i]);
}

static size_t exemplar_size(const pra_columns *c, size_t i, size_t refs_size)
{
    return pra__string_field_size(prom2_Exemplar_labels_refs_tag, refs_size) +
           pra__double_field_size(prom2_Exemplar_value_tag, &c->exemplar_values[i]) +
           pra__varint_field_size(prom2_Exemplar_timestamp_tag,
                                  (uint64_t)c->exemplar_timestamps_ms[i]);
}

static size_t exemplars_size(const struct encoder *e, const uint32_t *refs, pra_range range)
{
    size_t size = 0;
    for (size_t i = range.start; i < (size_t)range.start + range.count; i++) {
        const size_t count = exemplar_refs(e->c, i);
        size += pra__bytes_field_size(prom2_TimeSeries_exemplars_tag,
                                      exemplar_size(e->c, i, refs_bytes(e, refs, count)));
        refs += count;
    }
    return size;
}

static uint8_t *put_exemplars(uint8_t *p, const struct encoder *e, const uint32_t *refs,
                              pra_range range)
{
    const pra_columns *c = e->c;
    for (size_t i = range.start; i < (size_t)range.start + range.count; i++) {
        const size_t count = exemplar_refs(c, i);
        const size_t refs_size = refs_bytes(e, refs, count);
        p = pra__put_head(p, prom2_TimeSeries_exemplars_tag, exemplar_size(c, i, refs_size));
        p = put_refs(p, e, refs, count, refs_size);
        p = pra__put_double_field(p, prom2_Exemplar_value_tag, &c->exemplar_values[i]);
        p = pra__put_varint_field(p, prom2_Exemplar_timestamp_tag,
                                  (uint64_t)c->exemplar_timestamps_ms[i]);
        refs += count;
    }
    return p;
}

struct described {
    int32_t type;
    uint32_t help;
    uint32_t unit;
};

static size_t metadata_size(const struct described *m)
{
    return pra__varint_field_size(prom2_Metadata_type_tag, pra__sign_extend(m->type)) +
           pra__varint_field_size(prom2_Metadata_help_ref_tag, m->help) +
           pra__varint_field_size(prom2_Metadata_unit_ref_tag, m->unit);
}

static uint8_t *put_metadata(uint8_t *p, const struct described *m)
{
    const size_t size = metadata_size(m);
    if (size == 0)
        return p;
    p = pra__put_head(p, prom2_TimeSeries_metadata_tag, size);
    p = pra__put_varint_field(p, prom2_Metadata_type_tag, pra__sign_extend(m->type));
    p = pra__put_varint_field(p, prom2_Metadata_help_ref_tag, m->help);
    return pra__put_varint_field(p, prom2_Metadata_unit_ref_tag, m->unit);
}

/* How many references the exemplars of a series have. */
static size_t all_exemplar_refs(const pra_columns *c, pra_range range)
{
    size_t count = 0;
    for (size_t i = range.start; i < (size_t)range.start + range.count; i++)
        count += exemplar_refs(c, i);
    return count;
}

static int encode_series(struct encoder *e, const pra_series *s, pra_buffer *out)
{
    const uint32_t *labels = e->at;
    const uint32_t *exemplars = labels + 2 * s->label_count;
    const uint32_t *last = exemplars + all_exemplar_refs(e->c, s->exemplars);
    const struct described metadata = {(int32_t)last[0], symbol(e, last[1]), symbol(e, last[2])};
    const size_t refs_size = refs_bytes(e, labels, 2 * s->label_count);
    const size_t size =
        pra__string_field_size(prom2_TimeSeries_labels_refs_tag, refs_size) +
        pra__samples_size(s, PRA_WRITE_V2) + pra__histograms_size(e->c, s, PRA_WRITE_V2) +
        exemplars_size(e, exemplars, s->exemplars) +
        pra__string_field_size(prom2_TimeSeries_metadata_tag, metadata_size(&metadata));
    e->at = last + 3;
    int rc = pra__buffer_reserve(out, pra__bytes_field_size(prom2_Request_timeseries_tag, size));
    if (rc)
        return rc;
    uint8_t *p = pra__put_head(out->data + out->len, prom2_Request_timeseries_tag, size);
    p = put_refs(p, e, labels, 2 * s->label_count, refs_size);
    p = pra__put_samples(p, s, PRA_WRITE_V2);
    p = pra__put_histograms(p, e->c, s, PRA_WRITE_V2);
    p = put_exemplars(p, e, exemplars, s->exemplars);
    p = put_metadata(p, &metadata);
    out->len = (size_t)(p - out->data);
    return PRA_OK;
}

int pra__write_v2_encode(struct pra__columns *scratch, const pra_columns *c, pra_buffer *out)
{
    const size_t before = out->len;
    struct encoder e = {.c = c};
    pra_series s = {.size = sizeof(s)};
    int rc = pra__strings_begin(&e.strings, scratch, c->base);
    if (rc == PRA_OK)
        rc = note_all(&e);
    if (rc == PRA_OK)
        rc = encode_symbols(&e, out);
    e.at = PRA__COLUMN(uint32_t, scratch, PRA__COL_STRING_REFS);
    for (size_t i = 0; rc == PRA_OK && i < c->series_count; i++) {
        (void)pra_columns_series(c, i, &s);
        rc = encode_series(&e, &s, out);
    }
    if (rc)
        out->len = before;
    return rc;
}

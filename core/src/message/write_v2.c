/* SPDX-License-Identifier: Apache-2.0 */
/* Remote write 2.0 into columns. References are turned into strings as they are read, for senders
 * put the symbols first. They need not: at the first reference that names no symbol known so far
 * the symbols of the whole message are gathered and it is read again from the start. */
#include "message/write_v2.h"

#include <pra_proto/write_v2.pb.h>

#include "message/histogram_decode.h"
#include "message/series_decode.h"
#include "message/write_v2_plain.h"

enum {
    KEY_SYMBOL = prom2_Request_symbols_tag << 3 | PRA__WIRE_BYTES,
    CREATED_TIMESTAMP_TAG = 6 /* of TimeSeries, before there was Sample.start_timestamp [W-44] */
};

/* A reading function's result beside PRA_OK and errors: read again, with all symbols. */
enum { AGAIN = 1 };

struct request {
    struct pra__decoder *d;
    int complete;   /* all symbols of the message are in the column */
    size_t longest; /* symbol, bytes */
};

/* The labels of a series or an exemplar, while their references are read. */
struct labels {
    enum pra__column_id id; /* PRA__COL_LABELS or PRA__COL_EXEMPLAR_LABELS */
    int half;               /* a name waits for its value */
    uint32_t name;
    int wrong; /* a reference named no symbol: ref, the first such */
    uint32_t ref;
};

struct series {
    struct labels labels;
    int32_t type;
    uint32_t help;
    uint32_t unit;
    int64_t created_ms;
};

/* ---- symbols */

static size_t at_most(size_t limit, size_t v)
{
    return v < limit ? v : limit;
}

/* Takes symbols shorter than 128 bytes, while there is room for them in the column. */
static void take_plain_symbols(struct request *r)
{
    struct pra__decoder *d = r->d;
    struct pra__column *col = &d->cols->col[PRA__COL_SYMBOLS];
    pra_span *symbols = col->data;
    size_t n = col->len, longest = r->longest;
    const size_t full = col->cap;
    const uint8_t *p = d->in.pos, *end = d->in.end;
    while (n < full && end - p >= 2 && p[0] == KEY_SYMBOL) {
        size_t len = p[1];
        if (len > 127 || len + 2 > (size_t)(end - p))
            break;
        longest = len > longest ? len : longest;
        symbols[n++] = (pra_span){pra__offset(d, p + 2), (uint32_t)len};
        p += len + 2;
    }
    col->len = n;
    r->longest = longest;
    d->in.pos = p;
}

static int read_symbol(struct request *r, uint32_t wire)
{
    struct pra__columns *c = r->d->cols;
    pra_span symbol;
    int rc = pra__read_span(r->d, wire, &symbol);
    if (rc || r->complete)
        return rc;
    rc = pra__columns_room(c, PRA__COL_SYMBOLS, 1);
    if (rc)
        return rc;
    PRA__COLUMN(pra_span, c, PRA__COL_SYMBOLS)[c->col[PRA__COL_SYMBOLS].len++] = symbol;
    r->longest = symbol.len > r->longest ? symbol.len : r->longest;
    return PRA_OK;
}

/* The string of a reference; returns 0 with an empty one if it names no symbol. */
static int resolve(const struct pra__columns *c, uint32_t ref, pra_span *out)
{
    const int known = ref < c->col[PRA__COL_SYMBOLS].len;
    *out = known ? PRA__COLUMN(pra_span, c, PRA__COL_SYMBOLS)[ref] : (pra_span){0, 0};
    return known;
}

/* ---- faults */

static int add_fault(struct request *r, size_t datum, int32_t what, uint32_t ref)
{
    struct pra__columns *c = r->d->cols;
    if (!r->complete)
        return AGAIN;
    int rc = pra__columns_room(c, PRA__COL_FAULTS, 1);
    if (rc)
        return rc;
    PRA__COLUMN(struct pra__fault, c, PRA__COL_FAULTS)
    [c->col[PRA__COL_FAULTS].len++] = (struct pra__fault){
        .series = (uint32_t)c->series,
        .datum = (uint32_t)datum,
        .kind = datum == UINT32_MAX ? PRA_DATUM_SERIES : PRA_DATUM_EXEMPLAR,
        .what = what,
        .ref = ref,
    };
    return PRA_OK;
}

/* ---- references of labels */

static enum pra__column_id last_column(const struct labels *l)
{
    return l->id == PRA__COL_LABELS ? PRA__COL_LABEL_REFS : l->id;
}

static int room_for_label(struct pra__columns *c, const struct labels *l)
{
    const size_t need = c->col[l->id].len + 1;
    if (need <= pra__columns_cap(c, l->id, last_column(l)))
        return PRA_OK;
    return pra__columns_reserve(c, l->id, last_column(l), need);
}

/* For a wrong reference 0 is shown, so that a caller's table of symbols is not left. */
static int add_label(struct request *r, struct labels *l, uint32_t value)
{
    struct pra__columns *c = r->d->cols;
    pra_label_span label;
    pra_symbol_refs refs = {l->name, value};
    int rc = room_for_label(c, l);
    if (rc)
        return rc;
    const int name_known = resolve(c, refs.name, &label.name);
    const int value_known = resolve(c, refs.value, &label.value);
    if (!name_known || !value_known) {
        if (!r->complete)
            return AGAIN;
        if (!l->wrong)
            l->ref = name_known ? refs.value : refs.name;
        l->wrong = 1;
        refs.name = name_known ? refs.name : 0;
        refs.value = value_known ? refs.value : 0;
    }
    rc = pra__check_label(r->d, &label);
    if (rc)
        return rc;
    const size_t i = c->col[l->id].len++;
    PRA__COLUMN(pra_label_span, c, l->id)[i] = label;
    if (l->id == PRA__COL_LABELS)
        PRA__COLUMN(pra_symbol_refs, c, PRA__COL_LABEL_REFS)[i] = refs;
    return PRA_OK;
}

static int read_ref(struct request *r, struct labels *l)
{
    uint64_t v;
    int rc = pra__read_varint(&r->d->in, &v);
    if (rc)
        return rc;
    l->half = !l->half;
    if (!l->half)
        return add_label(r, l, (uint32_t)v);
    l->name = (uint32_t)v;
    return PRA_OK;
}

/* A field labels_refs: packed, or one reference. As with other packed fields Go takes a last
 * element that runs over the end of the field. */
static int read_refs(struct request *r, uint32_t wire, struct labels *l)
{
    struct pra__reader *in = &r->d->in;
    const uint8_t *start;
    size_t len;
    if (wire == PRA__WIRE_VARINT)
        return read_ref(r, l);
    int rc = pra__read_bytes(in, wire, &start, &len);
    const uint8_t *stop = in->pos;
    if (rc == PRA_OK)
        in->pos = start;
    while (rc == PRA_OK && in->pos < stop)
        rc = read_ref(r, l);
    return rc;
}

/* After the last reference of a series, or of exemplar number datum. first is its first label. */
static int end_labels(struct request *r, const struct labels *l, size_t datum, size_t first)
{
    const size_t count = r->d->cols->col[l->id].len - first;
    if (l->half)
        return add_fault(r, datum, PRA__FAULT_ODD_REFS, (uint32_t)(count * 2 + 1));
    return l->wrong ? add_fault(r, datum, PRA__FAULT_REF, l->ref) : PRA_OK;
}

/* ---- exemplars */

struct exemplar {
    struct labels labels;
    double value;
    int64_t timestamp_ms;
};

static int read_exemplar_field(struct request *r, struct exemplar *e)
{
    struct pra__reader *in = &r->d->in;
    struct pra__field field;
    int rc = pra__read_field(in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom2_Exemplar_labels_refs_tag:
        return read_refs(r, field.wire, &e->labels);
    case prom2_Exemplar_value_tag:
        return pra__read_fixed64(in, field.wire, &e->value);
    case prom2_Exemplar_timestamp_tag:
        return pra__read_i64(in, field.wire, &e->timestamp_ms);
    default:
        return pra__skip_field(in, field.wire);
    }
}

static int read_exemplar(struct request *r, uint32_t wire)
{
    struct pra__decoder *d = r->d;
    struct pra__columns *c = d->cols;
    const size_t index = c->col[PRA__COL_EXEMPLAR_TIMESTAMPS].len;
    const size_t first = c->col[PRA__COL_EXEMPLAR_LABELS].len;
    struct exemplar e = {.labels = {.id = PRA__COL_EXEMPLAR_LABELS}};
    const uint8_t *outer;
    int rc = pra__exemplar_begin(c);
    if (rc == PRA_OK)
        rc = pra__enter(&d->in, wire, &outer);
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_exemplar_field(r, &e);
    if (rc == PRA_OK)
        rc = end_labels(r, &e.labels, index, first);
    if (rc)
        return rc;
    pra__leave(&d->in, outer);
    pra__exemplar_end(c, e.timestamp_ms, &e.value);
    return PRA_OK;
}

/* ---- metadata */

static int read_u32(struct pra__reader *in, uint32_t wire, uint32_t *out)
{
    uint64_t v;
    int rc = pra__read_u64(in, wire, &v);
    if (rc == PRA_OK)
        *out = (uint32_t)v;
    return rc;
}

static int read_metadata_field(struct pra__reader *in, struct series *s)
{
    struct pra__field field;
    int rc = pra__read_field(in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom2_Metadata_type_tag:
        return pra__read_i32(in, field.wire, &s->type);
    case prom2_Metadata_help_ref_tag:
        return read_u32(in, field.wire, &s->help);
    case prom2_Metadata_unit_ref_tag:
        return read_u32(in, field.wire, &s->unit);
    default:
        return pra__skip_field(in, field.wire);
    }
}

/* If there are several they are one, the last of each field counting. */
static int read_metadata(struct request *r, uint32_t wire, struct series *s)
{
    struct pra__reader *in = &r->d->in;
    const uint8_t *outer;
    int rc = pra__enter(in, wire, &outer);
    while (rc == PRA_OK && in->pos < in->end)
        rc = read_metadata_field(in, s);
    if (rc == PRA_OK)
        pra__leave(in, outer);
    return rc;
}

/* An entry where anything is said at all: Prometheus sends one with every series [W-46] [S-09]. As
 * there, references that are not sent are 0 and so must name a symbol too [W-33]. */
static int end_metadata(struct request *r, const struct series *s)
{
    struct pra__columns *c = r->d->cols;
    pra_metadata entry = {.type = s->type, .series = (uint32_t)c->series};
    if (!resolve(c, s->unit, &entry.unit))
        return add_fault(r, UINT32_MAX, PRA__FAULT_UNIT_REF, s->unit);
    if (!resolve(c, s->help, &entry.help))
        return add_fault(r, UINT32_MAX, PRA__FAULT_HELP_REF, s->help);
    if (!entry.type && !entry.help.len && !entry.unit.len)
        return PRA_OK;
    int rc = pra__columns_room(c, PRA__COL_METADATA, 1);
    if (rc == PRA_OK)
        PRA__COLUMN(pra_metadata, c, PRA__COL_METADATA)[c->col[PRA__COL_METADATA].len++] = entry;
    return rc;
}

/* ---- series */

static int read_created(struct pra__reader *in, uint32_t wire, int64_t *out)
{
    return wire == PRA__WIRE_VARINT ? pra__read_i64(in, wire, out) : pra__skip_field(in, wire);
}

static int read_series_field(struct request *r, struct series *s)
{
    struct pra__decoder *d = r->d;
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom2_TimeSeries_labels_refs_tag:
        return read_refs(r, field.wire, &s->labels);
    case prom2_TimeSeries_samples_tag:
        return pra__sample_decode(d, field.wire);
    case prom2_TimeSeries_histograms_tag:
        return pra__histogram_decode(d, field.wire);
    case prom2_TimeSeries_exemplars_tag:
        return read_exemplar(r, field.wire);
    case prom2_TimeSeries_metadata_tag:
        return read_metadata(r, field.wire, s);
    case CREATED_TIMESTAMP_TAG:
        return read_created(&d->in, field.wire, &s->created_ms);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

/* The start timestamp of the series becomes that of its samples and histograms without one. */
static int spread_created(struct pra__columns *c, int64_t created_ms)
{
    const size_t samples = c->col[PRA__COL_TIMESTAMPS].len;
    const size_t first = PRA__COLUMN(uint32_t, c, PRA__COL_SAMPLE_OFFSETS)[c->series];
    pra_histogram *h = PRA__COLUMN(pra_histogram, c, PRA__COL_HISTOGRAMS);
    for (size_t i = PRA__COLUMN(uint32_t, c, PRA__COL_HISTOGRAM_OFFSETS)[c->series];
         i < c->col[PRA__COL_HISTOGRAMS].len; i++)
        if (h[i].start_timestamp_ms == 0)
            h[i].start_timestamp_ms = created_ms;
    if (first == samples)
        return PRA_OK;
    int rc = pra__columns_fill_starts(c, samples);
    if (rc)
        return rc;
    int64_t *starts = PRA__COLUMN(int64_t, c, PRA__COL_START_TIMESTAMPS);
    for (size_t i = first; i < samples; i++)
        if (starts[i] == 0)
            starts[i] = created_ms;
    return PRA_OK;
}

static int end_series(struct request *r, const struct series *s, const uint8_t *start)
{
    struct pra__columns *c = r->d->cols;
    const size_t first = PRA__COLUMN(uint32_t, c, PRA__COL_LABEL_OFFSETS)[c->series];
    int rc = pra__check_label_count(r->d, start, c->col[PRA__COL_LABELS].len - first);
    if (rc == PRA_OK)
        rc = end_labels(r, &s->labels, UINT32_MAX, first);
    if (rc == PRA_OK && !s->labels.half && !s->labels.wrong)
        rc = end_metadata(r, s);
    if (rc == PRA_OK && s->created_ms)
        rc = spread_created(c, s->created_ms);
    return rc;
}

static int read_series(struct request *r, uint32_t wire)
{
    struct pra__decoder *d = r->d;
    struct series s = {.labels = {.id = PRA__COL_LABELS}};
    const uint8_t *outer;
    int rc = pra__columns_mark_series(d->cols);
    if (rc == PRA_OK)
        rc = pra__enter(&d->in, wire, &outer);
    if (rc)
        return rc;
    const uint8_t *start = d->in.pos;
    for (;;) {
        pra__take_plain_samples(d);
        if (d->in.pos == d->in.end)
            break;
        rc = read_series_field(r, &s);
        if (rc)
            return rc;
    }
    rc = end_series(r, &s, start);
    if (rc)
        return rc;
    pra__leave(&d->in, outer);
    d->cols->series++;
    return PRA_OK;
}

/* ---- the request */

static int read_request_field(struct request *r)
{
    struct pra__reader *in = &r->d->in;
    struct pra__field field;
    int rc = pra__read_field(in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom2_Request_symbols_tag:
        return read_symbol(r, field.wire);
    case prom2_Request_timeseries_tag:
        return read_series(r, field.wire);
    default:
        return pra__skip_field(in, field.wire);
    }
}

static int read_request(struct request *r)
{
    struct pra__reader *in = &r->d->in;
    int rc = PRA_OK;
    while (rc == PRA_OK && in->pos < in->end) {
        if (!r->complete)
            take_plain_symbols(r);
        pra__write_v2_plain(r->d, r->longest);
        if (in->pos < in->end)
            rc = read_request_field(r);
    }
    return rc;
}

/* To the start of the message, with empty columns. */
static void rewind_to_start(struct pra__decoder *d)
{
    struct pra__columns *c = d->cols;
    const size_t text = c->col[PRA__COL_TEXT].len;
    const size_t symbols = c->col[PRA__COL_SYMBOLS].len;
    const char *base = c->base;
    const size_t base_len = c->base_len;
    pra__columns_reset(c, SIZE_MAX);
    c->col[PRA__COL_TEXT].len = text;
    c->col[PRA__COL_SYMBOLS].len = symbols;
    c->base = base;
    c->base_len = base_len;
    d->in.pos = d->base;
    d->in.end = d->stop;
}

/* Takes the symbols that were not reached yet: those behind the series that is being read. */
static int read_all_symbols(struct request *r)
{
    struct pra__reader *in = &r->d->in;
    int rc = PRA_OK;
    r->d->cols->col[PRA__COL_SYMBOLS].len = 0;
    r->longest = 0;
    rewind_to_start(r->d);
    while (rc == PRA_OK && in->pos < in->end) {
        struct pra__field field;
        rc = pra__read_field(in, &field);
        if (rc == PRA_OK)
            rc = field.number == prom2_Request_symbols_tag ? read_symbol(r, field.wire)
                                                           : pra__skip_field(in, field.wire);
    }
    return rc;
}

static int read_again(struct request *r)
{
    int rc = read_all_symbols(r);
    if (rc)
        return rc;
    r->complete = 1;
    rewind_to_start(r->d);
    return read_request(r);
}

/* As for version 1.0: a symbol in 32 bytes, a label in 6, a series in 64. */
static void expect(struct pra__columns *c, size_t bytes)
{
    const size_t most = (size_t)1 << 18;
    const size_t series = at_most(most, bytes / 64) + 1;
    pra__columns_expect(c, PRA__COL_SYMBOLS, PRA__COL_SYMBOLS, at_most(most, bytes / 32));
    pra__columns_expect(c, PRA__COL_LABELS, PRA__COL_LABEL_REFS, at_most(most, bytes / 6));
    pra__columns_expect(c, PRA__COL_LABEL_OFFSETS, PRA__COL_HISTOGRAM_OFFSETS, series);
    pra__columns_expect(c, PRA__COL_TIMESTAMPS, PRA__COL_VALUES, series);
}

/* ---- what the strings would take, written out */

static uint64_t metadata_bytes(const struct pra__columns *c)
{
    const pra_metadata *metadata = PRA__COLUMN(pra_metadata, c, PRA__COL_METADATA);
    uint64_t sum = 0;
    for (size_t i = 0; i < c->col[PRA__COL_METADATA].len; i++)
        sum += (uint64_t)metadata[i].help.len + metadata[i].unit.len;
    return sum;
}

static uint64_t label_bytes(const struct pra__columns *c, enum pra__column_id id)
{
    const pra_label_span *labels = PRA__COLUMN(pra_label_span, c, id);
    uint64_t sum = 0;
    for (size_t i = 0; i < c->col[id].len; i++)
        sum += (uint64_t)labels[i].name.len + labels[i].value.len;
    return sum;
}

/* A symbol is sent once and used any number of times, but most storages write it out each time:
 * a few kilobytes would become terabytes. Mostly the longest symbol shows that it cannot be. */
static int check_written_out(struct request *r)
{
    const struct pra__columns *c = r->d->cols;
    const uint64_t most = r->d->limits->max_memory_bytes;
    const uint64_t strings =
        2 * ((uint64_t)c->col[PRA__COL_LABELS].len + c->col[PRA__COL_EXEMPLAR_LABELS].len +
             c->col[PRA__COL_METADATA].len);
    if (!strings || r->longest <= most / strings)
        return PRA_OK;
    if (label_bytes(c, PRA__COL_LABELS) + label_bytes(c, PRA__COL_EXEMPLAR_LABELS) +
            metadata_bytes(c) <=
        most)
        return PRA_OK;
    r->d->budget_of = "the text of all labels and metadata, written out as in 1.0,";
    return PRA_ERR_MEMORY_BUDGET;
}

static int finish(struct pra__columns *c)
{
    c->col[PRA__COL_LABEL_REFS].len = c->col[PRA__COL_LABELS].len;
    if (c->col[PRA__COL_START_TIMESTAMPS].len) {
        int rc = pra__columns_fill_starts(c, c->col[PRA__COL_TIMESTAMPS].len);
        if (rc)
            return rc;
    }
    return pra__columns_mark_series(c);
}

int pra__write_v2_decode(struct pra__decoder *d)
{
    struct request r = {.d = d};
    d->v2 = 1;
    expect(d->cols, (size_t)(d->in.end - d->in.pos));
    int rc = read_request(&r);
    if (rc == AGAIN)
        rc = read_again(&r);
    if (rc == PRA_OK)
        rc = check_written_out(&r);
    return rc ? rc : finish(d->cols);
}

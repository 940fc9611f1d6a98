/* SPDX-License-Identifier: Apache-2.0 */
/* Remote write 2.0 through nanopb. The symbols are read first, by a pass of their own. */
#include <pb_decode.h>
#include <pra_proto/write_v2.pb.h>
#include <stdlib.h>
#include <string.h>

#include "support/events.h"
#include "support/oracle.h"
#include "support/oracle_histogram.h"

struct strings {
    struct text *items;
    size_t count;
};

struct refs {
    uint32_t *items;
    size_t count;
};

static void *more(void *items, size_t count, size_t size)
{
    void *grown = realloc(items, (count + 1) * size);
    if (!grown)
        abort();
    return grown;
}

static pb_callback_t callback(bool (*fn)(pb_istream_t *, const pb_field_t *, void **), void *arg)
{
    pb_callback_t c;
    c.funcs.decode = fn;
    c.arg = arg;
    return c;
}

static bool on_symbol(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct strings *s = *arg;
    struct text t = {0};
    char byte;
    (void)field;
    text_bytes(&t, "", 0);
    while (stream->bytes_left) {
        if (!pb_read(stream, (pb_byte_t *)&byte, 1))
            return false;
        text_bytes(&t, &byte, 1);
    }
    s->items = more(s->items, s->count, sizeof(*s->items));
    s->items[s->count++] = t;
    return true;
}

static bool on_ref(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct refs *r = *arg;
    (void)field;
    while (stream->bytes_left) {
        uint64_t v;
        if (!pb_decode_varint(stream, &v)) {
            if (stream->bytes_left == 0)
                stream->errmsg = oracle_packed_overrun;
            return false;
        }
        r->items = more(r->items, r->count, sizeof(*r->items));
        r->items[r->count++] = (uint32_t)v;
    }
    return true;
}

static int resolve(const struct strings *s, uint32_t ref, pra_str *out)
{
    const int known = ref < s->count;
    *out = known ? (pra_str){s->items[ref].data, s->items[ref].len} : (pra_str){NULL, 0};
    return known;
}

/* Returns 1 if all references are right. */
static int print_labels(struct text *out, const char *indent, const struct strings *s,
                        const struct refs *r)
{
    int right = r->count % 2 == 0;
    for (size_t i = 0; i + 1 < r->count; i += 2) {
        pra_str name, value;
        right &= resolve(s, r->items[i], &name) & resolve(s, r->items[i + 1], &value);
        events_label(out, indent, name, value);
    }
    return right;
}

/* What the callbacks inside a series write to, by kind. */
struct parts {
    const struct strings *symbols;
    struct text samples, exemplars, histograms;
};

static bool on_sample(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct parts *p = *arg;
    prom2_Sample sample = {0};
    (void)field;
    if (!pb_decode(stream, prom2_Sample_fields, &sample))
        return false;
    events_sample(&p->samples, sample.timestamp, bits_of(&sample.value), sample.start_timestamp);
    return true;
}

static bool on_exemplar(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct parts *p = *arg;
    struct refs refs = {0};
    prom2_Exemplar exemplar = {.labels_refs = callback(on_ref, &refs)};
    (void)field;
    bool ok = pb_decode(stream, prom2_Exemplar_fields, &exemplar);
    if (ok) {
        events_exemplar(&p->exemplars, exemplar.timestamp, bits_of(&exemplar.value));
        (void)print_labels(&p->exemplars, "    ", p->symbols, &refs);
    }
    free(refs.items);
    return ok;
}

static bool on_histogram(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct parts *p = *arg;
    (void)field;
    return oracle_histogram(stream, prom2_Histogram_fields, &p->histograms);
}

static void print_metadata(struct text *out, const struct strings *s, const prom2_Metadata *m)
{
    pra_str help, unit;
    if (resolve(s, m->help_ref, &help) & resolve(s, m->unit_ref, &unit))
        if (m->type || help.len || unit.len)
            events_described(out, (int32_t)m->type, help, unit);
}

struct request {
    struct strings symbols;
    struct text *events;
};

static bool on_series(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct request *r = *arg;
    struct parts parts = {.symbols = &r->symbols};
    struct refs refs = {0};
    prom2_TimeSeries series = {.labels_refs = callback(on_ref, &refs),
                               .samples = callback(on_sample, &parts),
                               .histograms = callback(on_histogram, &parts),
                               .exemplars = callback(on_exemplar, &parts)};
    (void)field;
    bool ok = pb_decode(stream, prom2_TimeSeries_fields, &series);
    text_printf(r->events, "series\n");
    const int right = print_labels(r->events, "  ", &r->symbols, &refs);
    text_append(r->events, &parts.samples);
    text_append(r->events, &parts.exemplars);
    text_append(r->events, &parts.histograms);
    if (ok && right)
        print_metadata(r->events, &r->symbols, &series.metadata);
    text_free(&parts.samples);
    text_free(&parts.exemplars);
    text_free(&parts.histograms);
    free(refs.items);
    return ok;
}

const char *oracle_write_v2(const void *data, size_t len, struct text *events)
{
    struct request r = {.events = events};
    prom2_Request symbols = {.symbols = callback(on_symbol, &r.symbols)};
    prom2_Request series = {.timeseries = callback(on_series, &r)};
    pb_istream_t first = pb_istream_from_buffer(data, len);
    pb_istream_t second = first;
    const char *why = NULL;
    if (!pb_decode(&first, prom2_Request_fields, &symbols))
        why = PB_GET_ERROR(&first);
    else if (!pb_decode(&second, prom2_Request_fields, &series))
        why = PB_GET_ERROR(&second);
    for (size_t i = 0; i < r.symbols.count; i++)
        text_free(&r.symbols.items[i]);
    free(r.symbols.items);
    return why;
}

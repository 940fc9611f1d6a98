/* SPDX-License-Identifier: Apache-2.0 */
#include "support/oracle.h"

#include <pb_decode.h>
#include <pra_proto/remote.pb.h>
#include <pra_proto/write_v2.pb.h>
#include <stddef.h>
#include <string.h>

#include "support/events.h"
#include "support/oracle_histogram.h"

const char oracle_packed_overrun[] = "packed element overrun";

/* What one series, one histogram, or one message has printed so far, by kind. */
enum kind {
    LABELS,
    SAMPLES,
    EXEMPLARS,
    HISTOGRAMS,
    SERIES = 0,
    METADATA = 1,
    QUERIES = 0,
    ACCEPTED
};
struct parts {
    struct text part[7];
};

static void join(struct text *t, struct parts *parts)
{
    for (size_t i = 0; i < sizeof(parts->part) / sizeof(parts->part[0]); i++) {
        text_append(t, &parts->part[i]);
        text_free(&parts->part[i]);
    }
}

static pb_callback_t callback(bool (*fn)(pb_istream_t *, const pb_field_t *, void **), void *arg)
{
    pb_callback_t c;
    c.funcs.decode = fn;
    c.arg = arg;
    return c;
}

static pra_str str_of(const struct text *t)
{
    return (pra_str){t->data, t->len};
}

/* A singular string: the last one wins. */
static bool on_string(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct text *t = *arg;
    char byte;
    (void)field;
    text_clear(t);
    while (stream->bytes_left) {
        if (!pb_read(stream, (pb_byte_t *)&byte, 1))
            return false;
        text_bytes(t, &byte, 1);
    }
    return true;
}

static bool read_label(pb_istream_t *stream, struct text *out, const char *indent)
{
    struct text name = {0}, value = {0};
    prom_Label label = {callback(on_string, &name), callback(on_string, &value)};
    bool ok = pb_decode(stream, prom_Label_fields, &label);
    if (ok)
        events_label(out, indent, str_of(&name), str_of(&value));
    text_free(&name);
    text_free(&value);
    return ok;
}

static bool on_label(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    (void)field;
    return read_label(stream, *arg, "  ");
}

static bool on_exemplar_label(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    (void)field;
    return read_label(stream, *arg, "    ");
}

static bool on_sample(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    prom_Sample sample = {0};
    (void)field;
    if (!pb_decode(stream, prom_Sample_fields, &sample))
        return false;
    events_sample(*arg, sample.timestamp, bits_of(&sample.value), 0);
    return true;
}

static bool on_exemplar(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct text labels = {0};
    prom_Exemplar exemplar = {.labels = callback(on_exemplar_label, &labels)};
    (void)field;
    bool ok = pb_decode(stream, prom_Exemplar_fields, &exemplar);
    if (ok) {
        events_exemplar(*arg, exemplar.timestamp, bits_of(&exemplar.value));
        text_append(*arg, &labels);
    }
    text_free(&labels);
    return ok;
}

/* ---- histograms */

struct bucket_part {
    struct text *out;
    const char *name;
};

static bool on_span(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct bucket_part *part = *arg;
    prom_BucketSpan span = {0};
    (void)field;
    if (!pb_decode(stream, prom_BucketSpan_fields, &span))
        return false;
    text_printf(part->out, "    %s %d %u\n", part->name, (int)span.offset, (unsigned)span.length);
    return true;
}

static bool on_delta(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct bucket_part *part = *arg;
    (void)field;
    while (stream->bytes_left) {
        int64_t v;
        if (!pb_decode_svarint(stream, &v)) {
            if (stream->bytes_left == 0)
                stream->errmsg = oracle_packed_overrun;
            return false;
        }
        text_printf(part->out, "    %s %lld\n", part->name, (long long)v);
    }
    return true;
}

static bool on_double(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct bucket_part *part = *arg;
    (void)field;
    while (stream->bytes_left) {
        uint64_t bits;
        if (!pb_decode_fixed64(stream, &bits)) {
            stream->errmsg = oracle_packed_overrun;
            return false;
        }
        text_printf(part->out, "    %s 0x%llx\n", part->name, (unsigned long long)bits);
    }
    return true;
}

/* The histogram of 1.0 is the beginning of that of 2.0, whose struct serves for both. */
_Static_assert(offsetof(prom_Histogram, custom_values) == offsetof(prom2_Histogram, custom_values),
               "one layout");

static void print_histogram(struct text *out, const prom2_Histogram *m)
{
    pra_histogram h = {0};
    h.timestamp_ms = m->timestamp;
    h.start_timestamp_ms = m->start_timestamp;
    h.schema = m->schema;
    h.reset_hint = (int32_t)m->reset_hint;
    memcpy(&h.sum, &m->sum, sizeof(h.sum));
    memcpy(&h.zero_threshold, &m->zero_threshold, sizeof(h.zero_threshold));
    if (m->which_count)
        memcpy(&h.count_bits, &m->count, sizeof(h.count_bits));
    if (m->which_count == prom2_Histogram_count_float_tag)
        h.flags |= PRA_HISTOGRAM_FLOAT;
    if (m->which_zero_count)
        memcpy(&h.zero_count_bits, &m->zero_count, sizeof(h.zero_count_bits));
    if (m->which_zero_count == prom2_Histogram_zero_count_float_tag)
        h.flags |= PRA_HISTOGRAM_ZERO_FLOAT;
    events_histogram(out, &h);
}

bool oracle_histogram(pb_istream_t *stream, const pb_msgdesc_t *fields, struct text *out)
{
    struct parts parts = {0};
    struct bucket_part b[7] = {
        {&parts.part[0], "positive_span"},  {&parts.part[1], "negative_span"},
        {&parts.part[2], "positive_delta"}, {&parts.part[3], "negative_delta"},
        {&parts.part[4], "positive_count"}, {&parts.part[5], "negative_count"},
        {&parts.part[6], "custom_value"},
    };
    prom2_Histogram h = {
        .positive_spans = callback(on_span, &b[0]),
        .negative_spans = callback(on_span, &b[1]),
        .positive_deltas = callback(on_delta, &b[2]),
        .negative_deltas = callback(on_delta, &b[3]),
        .positive_counts = callback(on_double, &b[4]),
        .negative_counts = callback(on_double, &b[5]),
        .custom_values = callback(on_double, &b[6]),
    };
    struct text rest = {0};
    bool ok = pb_decode(stream, fields, &h);
    if (ok)
        print_histogram(out, &h);
    join(&rest, &parts);
    if (ok)
        text_append(out, &rest);
    text_free(&rest);
    return ok;
}

static bool on_histogram(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    (void)field;
    return oracle_histogram(stream, prom_Histogram_fields, *arg);
}

/* ---- series and write requests */

static bool on_series(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct parts parts = {0};
    prom_TimeSeries series = {
        callback(on_label, &parts.part[LABELS]),
        callback(on_sample, &parts.part[SAMPLES]),
        callback(on_exemplar, &parts.part[EXEMPLARS]),
        callback(on_histogram, &parts.part[HISTOGRAMS]),
    };
    (void)field;
    bool ok = pb_decode(stream, prom_TimeSeries_fields, &series);
    text_printf(*arg, "series\n");
    join(*arg, &parts);
    return ok;
}

static bool on_metadata(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct text family = {0}, help = {0}, unit = {0};
    prom_MetricMetadata m = {.metric_family_name = callback(on_string, &family),
                             .help = callback(on_string, &help),
                             .unit = callback(on_string, &unit)};
    (void)field;
    bool ok = pb_decode(stream, prom_MetricMetadata_fields, &m);
    if (ok)
        events_metadata(*arg, (int32_t)m.type, str_of(&family), str_of(&help), str_of(&unit));
    text_free(&family);
    text_free(&help);
    text_free(&unit);
    return ok;
}

const char *oracle_write_v1(const void *data, size_t len, struct text *events)
{
    struct parts parts = {0};
    prom_WriteRequest m = {callback(on_series, &parts.part[SERIES]),
                           callback(on_metadata, &parts.part[METADATA])};
    pb_istream_t stream = pb_istream_from_buffer(data, len);
    bool ok = pb_decode(&stream, prom_WriteRequest_fields, &m);
    join(events, &parts);
    return ok ? NULL : PB_GET_ERROR(&stream);
}

/* ---- read response */

static bool on_result(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    prom_QueryResult result = {callback(on_series, *arg)};
    (void)field;
    text_printf(*arg, "result\n");
    return pb_decode(stream, prom_QueryResult_fields, &result);
}

const char *oracle_read_response(const void *data, size_t len, struct text *events)
{
    prom_ReadResponse m = {callback(on_result, events)};
    pb_istream_t stream = pb_istream_from_buffer(data, len);
    return pb_decode(&stream, prom_ReadResponse_fields, &m) ? NULL : PB_GET_ERROR(&stream);
}

/* ---- read request */

static bool on_matcher(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct text name = {0}, value = {0};
    prom_LabelMatcher m = {.name = callback(on_string, &name),
                           .value = callback(on_string, &value)};
    (void)field;
    bool ok = pb_decode(stream, prom_LabelMatcher_fields, &m);
    if (ok)
        events_matcher(*arg, (int32_t)m.type, str_of(&name), str_of(&value));
    text_free(&name);
    text_free(&value);
    return ok;
}

static bool on_grouping(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct text one = {0};
    void *one_arg = &one;
    bool ok = on_string(stream, field, &one_arg);
    text_printf(*arg, " ");
    text_quoted(*arg, one.data, one.len);
    text_free(&one);
    return ok;
}

static void print_query(struct text *out, const prom_Query *q, const struct text *matchers,
                        const struct text *func, const struct text *grouping)
{
    pra_read_hints h = {.present = q->has_hints,
                        .by = q->hints.by,
                        .step_ms = q->hints.step_ms,
                        .start_ms = q->hints.start_ms,
                        .end_ms = q->hints.end_ms,
                        .range_ms = q->hints.range_ms,
                        .func = str_of(func)};
    text_printf(out, "query %lld %lld\n", (long long)q->start_timestamp_ms,
                (long long)q->end_timestamp_ms);
    text_append(out, matchers);
    if (!h.present)
        return;
    events_hints(out, &h);
    out->data[--out->len] = 0; /* the grouping stands on the same line */
    text_append(out, grouping);
    text_printf(out, "\n");
}

static bool on_query(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    struct text matchers = {0}, func = {0}, grouping = {0};
    prom_Query q = {.matchers = callback(on_matcher, &matchers)};
    q.hints.func = callback(on_string, &func);
    q.hints.grouping = callback(on_grouping, &grouping);
    (void)field;
    bool ok = pb_decode(stream, prom_Query_fields, &q);
    if (ok)
        print_query(*arg, &q, &matchers, &func, &grouping);
    text_free(&matchers);
    text_free(&func);
    text_free(&grouping);
    return ok;
}

static bool on_accepted(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    (void)field;
    while (stream->bytes_left) {
        uint64_t v;
        if (!pb_decode_varint(stream, &v)) {
            if (stream->bytes_left == 0)
                stream->errmsg = oracle_packed_overrun;
            return false;
        }
        text_printf(*arg, "accepts %d\n", (int)(int32_t)(uint32_t)v);
    }
    return true;
}

const char *oracle_read_request(const void *data, size_t len, struct text *events)
{
    struct parts parts = {0};
    prom_ReadRequest m = {callback(on_query, &parts.part[QUERIES]),
                          callback(on_accepted, &parts.part[ACCEPTED])};
    pb_istream_t stream = pb_istream_from_buffer(data, len);
    bool ok = pb_decode(&stream, prom_ReadRequest_fields, &m);
    join(events, &parts);
    return ok ? NULL : PB_GET_ERROR(&stream);
}

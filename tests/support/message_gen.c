/* SPDX-License-Identifier: Apache-2.0 */
#include "support/message_gen.h"

#include <pra_proto/remote.pb.h>
#include <pra_proto/write_v2.pb.h>
#include <string.h>

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, GROUP = 3, END_GROUP = 4, FIXED32 = 5 };

static size_t below(struct message_gen *g, size_t n)
{
    return random_below(&g->random, n);
}

static int one_in(struct message_gen *g, size_t n)
{
    return below(g, n) == 0;
}

static void put_varint(struct message_gen *g, struct text *t, uint64_t v)
{
    size_t padding = v >> 40 == 0 && one_in(g, 20) ? below(g, 4) : 0; /* longer than need be */
    do {
        int more = v >= 0x80 || padding > 0;
        char byte = (char)((v & 0x7F) | (more ? 0x80 : 0));
        text_bytes(t, &byte, 1);
        if (v < 0x80) {
            if (padding == 0)
                return;
            padding--;
        }
        v >>= 7;
    } while (1);
}

/* Keys and lengths: as short as they can be, since nanopb reads them as 32 bits. */
static void put_short(struct text *t, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        text_bytes(t, &(char){(char)(v | 0x80)}, 1);
    text_bytes(t, &(char){(char)v}, 1);
}

static void put_key(struct text *t, unsigned number, unsigned wire)
{
    put_short(t, (uint64_t)number << 3 | wire);
}

static void put_child(struct text *t, unsigned number, struct text *child)
{
    put_key(t, number, BYTES);
    put_short(t, child->len);
    text_append(t, child);
    text_free(child);
}

static uint64_t any_u64(struct message_gen *g)
{
    uint64_t v = random_next(&g->random);
    return one_in(g, 4) ? v : v >> below(g, 64);
}

static uint64_t any_bits(struct message_gen *g)
{
    static const uint64_t special[] = {
        0,
        UINT64_C(1) << 63,
        0x7ff0000000000002,
        0x7ff8000000000001,
        0x7ff0000000000000,
        0xfff0000000000000,
        0x3ff0000000000000,
        1,
        0xffffffffffffffff,
    };
    if (one_in(g, 2))
        return special[below(g, sizeof(special) / sizeof(special[0]))];
    return random_next(&g->random);
}

static void put_fixed64(struct text *t, uint64_t v)
{
    char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(v >> (8 * i));
    text_bytes(t, bytes, sizeof(bytes));
}

static void field_double(struct message_gen *g, struct text *t, unsigned number)
{
    put_key(t, number, FIXED64);
    put_fixed64(t, any_bits(g));
}

static void field_i64(struct message_gen *g, struct text *t, unsigned number)
{
    put_key(t, number, VARINT);
    put_varint(g, t, any_u64(g));
}

/* Enums, sint32, uint32: within 31 bits, since nanopb refuses what Go cuts. */
static void field_u31(struct message_gen *g, struct text *t, unsigned number, uint32_t most)
{
    put_key(t, number, VARINT);
    put_varint(g, t, (any_u64(g) & 0x7fffffff) % ((uint64_t)most + 1));
}

static void field_string(struct message_gen *g, struct text *t, unsigned number)
{
    static const char *const words[] = {"__name__", "job", "instance", "up", "a", "", "\xc3\xa9"};
    char bytes[300];
    put_key(t, number, BYTES);
    if (!one_in(g, 4)) {
        const char *word = words[below(g, sizeof(words) / sizeof(words[0]))];
        put_short(t, strlen(word));
        text_bytes(t, word, strlen(word));
        return;
    }
    size_t len = one_in(g, 8) ? below(g, sizeof(bytes)) : below(g, 20);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)random_next(&g->random);
    put_short(t, len);
    text_bytes(t, bytes, len);
}

static void put_group(struct message_gen *g, struct text *t, size_t depth);

static void field_unknown(struct message_gen *g, struct text *t, size_t depth)
{
    unsigned number = 100 + (unsigned)below(g, 100);
    switch (below(g, g->groups ? 5 : 4)) {
    case 0:
        field_i64(g, t, number);
        return;
    case 1:
        field_double(g, t, number);
        return;
    case 2:
        field_string(g, t, number);
        return;
    case 3:
        put_key(t, number, FIXED32);
        text_bytes(t, "\1\2\3\xff", 4);
        return;
    default:
        put_group(g, t, depth);
    }
}

static void put_group(struct message_gen *g, struct text *t, size_t depth)
{
    unsigned number = 100 + (unsigned)below(g, 100);
    put_key(t, number, GROUP);
    for (size_t n = below(g, depth < 4 ? 3 : 1); n > 0; n--)
        field_unknown(g, t, depth + 1);
    put_key(t, number, END_GROUP);
}

static void maybe_unknown(struct message_gen *g, struct text *t)
{
    if (one_in(g, 12))
        field_unknown(g, t, 0);
}

/* ---- messages: each fills t with some fields in any order */

static void gen_label(struct message_gen *g, struct text *t)
{
    if (!one_in(g, 10)) {
        field_string(g, t, prom_Label_name_tag);
        field_string(g, t, prom_Label_value_tag);
        return;
    }
    for (size_t n = below(g, 4); n > 0; n--) {
        field_string(g, t, one_in(g, 2) ? prom_Label_name_tag : prom_Label_value_tag);
        maybe_unknown(g, t);
    }
}

static void gen_sample(struct message_gen *g, struct text *t)
{
    if (!one_in(g, 5)) {
        field_double(g, t, prom_Sample_value_tag);
        field_i64(g, t, prom_Sample_timestamp_tag);
        return;
    }
    for (size_t n = below(g, 4); n > 0; n--) {
        if (one_in(g, 2))
            field_double(g, t, prom_Sample_value_tag);
        else
            field_i64(g, t, prom_Sample_timestamp_tag);
        maybe_unknown(g, t);
    }
}

static void gen_exemplar(struct message_gen *g, struct text *t)
{
    for (size_t n = below(g, 5); n > 0; n--) {
        struct text child = {0};
        switch (below(g, 3)) {
        case 0:
            gen_label(g, &child);
            put_child(t, prom_Exemplar_labels_tag, &child);
            break;
        case 1:
            field_double(g, t, prom_Exemplar_value_tag);
            break;
        default:
            field_i64(g, t, prom_Exemplar_timestamp_tag);
        }
        maybe_unknown(g, t);
    }
}

static void gen_bucket_span(struct message_gen *g, struct text *t)
{
    for (size_t n = below(g, 3); n > 0; n--)
        field_u31(g, t, one_in(g, 2) ? prom_BucketSpan_offset_tag : prom_BucketSpan_length_tag,
                  UINT32_MAX);
    maybe_unknown(g, t);
}

static void field_deltas(struct message_gen *g, struct text *t, unsigned number)
{
    struct text child = {0};
    if (one_in(g, 4)) {
        field_i64(g, t, number);
        return;
    }
    for (size_t n = below(g, 6); n > 0; n--)
        put_varint(g, &child, any_u64(g));
    put_child(t, number, &child);
}

static void field_doubles(struct message_gen *g, struct text *t, unsigned number)
{
    struct text child = {0};
    if (one_in(g, 4)) {
        field_double(g, t, number);
        return;
    }
    for (size_t n = below(g, 6); n > 0; n--)
        put_fixed64(&child, any_bits(g));
    put_child(t, number, &child);
}

static void gen_histogram(struct message_gen *g, struct text *t, unsigned last_number)
{
    for (size_t n = below(g, 24); n > 0; n--) {
        unsigned number = 1 + (unsigned)below(g, last_number);
        struct text child = {0};
        switch (number) {
        case prom_Histogram_count_int_tag:
        case prom_Histogram_zero_count_int_tag:
        case prom_Histogram_timestamp_tag:
        case prom2_Histogram_start_timestamp_tag:
            field_i64(g, t, number);
            break;
        case prom_Histogram_count_float_tag:
        case prom_Histogram_zero_count_float_tag:
        case prom_Histogram_sum_tag:
        case prom_Histogram_zero_threshold_tag:
            field_double(g, t, number);
            break;
        case prom_Histogram_schema_tag:
            field_u31(g, t, number, UINT32_MAX);
            break;
        case prom_Histogram_reset_hint_tag:
            field_u31(g, t, number, 5);
            break;
        case prom_Histogram_negative_spans_tag:
        case prom_Histogram_positive_spans_tag:
            gen_bucket_span(g, &child);
            put_child(t, number, &child);
            break;
        case prom_Histogram_negative_deltas_tag:
        case prom_Histogram_positive_deltas_tag:
            field_deltas(g, t, number);
            break;
        default:
            field_doubles(g, t, number);
        }
        maybe_unknown(g, t);
    }
}

static void gen_series_field(struct message_gen *g, struct text *t, unsigned number)
{
    struct text child = {0};
    switch (number) {
    case prom_TimeSeries_labels_tag:
        gen_label(g, &child);
        break;
    case prom_TimeSeries_samples_tag:
        gen_sample(g, &child);
        break;
    case prom_TimeSeries_exemplars_tag:
        gen_exemplar(g, &child);
        break;
    default:
        gen_histogram(g, &child, prom_Histogram_custom_values_tag);
    }
    put_child(t, number, &child);
    maybe_unknown(g, t);
}

/* Without it a series is refused. */
static void gen_metric_name(struct text *t)
{
    static const char name[] = "\x0a\x0d\x0a\x08__name__\x12\x01m";
    text_bytes(t, name, sizeof(name) - 1);
}

static void gen_series(struct message_gen *g, struct text *t)
{
    if (!one_in(g, 4))
        gen_metric_name(t);
    if (one_in(g, 3)) {
        for (size_t n = below(g, 12); n > 0; n--)
            gen_series_field(g, t, 1 + (unsigned)below(g, prom_TimeSeries_histograms_tag));
        return;
    }
    for (size_t n = below(g, 8); n > 0; n--)
        gen_series_field(g, t, prom_TimeSeries_labels_tag);
    for (size_t n = below(g, 4); n > 0; n--)
        gen_series_field(g, t, prom_TimeSeries_samples_tag);
    if (one_in(g, 4))
        gen_series_field(g, t, prom_TimeSeries_exemplars_tag);
    if (one_in(g, 4))
        gen_series_field(g, t, prom_TimeSeries_histograms_tag);
}

static void gen_metadata(struct message_gen *g, struct text *t)
{
    for (size_t n = below(g, 6); n > 0; n--) {
        static const unsigned numbers[] = {prom_MetricMetadata_metric_family_name_tag,
                                           prom_MetricMetadata_help_tag,
                                           prom_MetricMetadata_unit_tag};
        if (one_in(g, 4))
            field_u31(g, t, prom_MetricMetadata_type_tag, 9);
        else
            field_string(g, t, numbers[below(g, 3)]);
        maybe_unknown(g, t);
    }
}

void gen_write_v1(struct message_gen *g, struct text *out)
{
    text_bytes(out, "", 0);
    for (size_t n = below(g, 5); n > 0; n--) {
        struct text child = {0};
        if (one_in(g, 5)) {
            gen_metadata(g, &child);
            put_child(out, prom_WriteRequest_metadata_tag, &child);
        } else {
            gen_series(g, &child);
            put_child(out, prom_WriteRequest_timeseries_tag, &child);
        }
        maybe_unknown(g, out);
    }
}

/* ---- remote write 2.0 */

static uint32_t any_ref(struct message_gen *g, size_t symbols)
{
    return one_in(g, 60) ? (uint32_t)any_u64(g) : (uint32_t)below(g, symbols + 1 - !!symbols);
}

/* count references, one field each or packed into one or several. */
static void gen_refs(struct message_gen *g, struct text *t, size_t count, size_t symbols)
{
    const unsigned number = prom2_TimeSeries_labels_refs_tag; /* that of exemplars too */
    const int packed = !one_in(g, 6);
    while (count > 0) {
        struct text child = {0};
        size_t n = packed && !one_in(g, 6) ? count : 1;
        if (!packed)
            put_key(t, number, VARINT);
        for (size_t i = 0; i < n; i++)
            put_varint(g, packed ? &child : t, any_ref(g, symbols));
        if (packed)
            put_child(t, number, &child);
        count -= n;
    }
}

static void gen_sample_v2(struct message_gen *g, struct text *t)
{
    gen_sample(g, t);
    if (one_in(g, 4))
        field_i64(g, t, prom2_Sample_start_timestamp_tag);
}

static void gen_exemplar_v2(struct message_gen *g, struct text *t, size_t symbols)
{
    for (size_t n = below(g, 5); n > 0; n--) {
        switch (below(g, 3)) {
        case 0:
            gen_refs(g, t, 2 * below(g, 3) + (size_t)one_in(g, 30), symbols);
            break;
        case 1:
            field_double(g, t, prom2_Exemplar_value_tag);
            break;
        default:
            field_i64(g, t, prom2_Exemplar_timestamp_tag);
        }
        maybe_unknown(g, t);
    }
}

static void gen_metadata_v2(struct message_gen *g, struct text *t, size_t symbols)
{
    for (size_t n = below(g, 4); n > 0; n--) {
        static const unsigned refs[] = {prom2_Metadata_help_ref_tag, prom2_Metadata_unit_ref_tag};
        if (one_in(g, 3)) {
            field_u31(g, t, prom2_Metadata_type_tag, 9);
            continue;
        }
        put_key(t, refs[below(g, 2)], VARINT);
        put_varint(g, t, any_ref(g, symbols) & 0x7fffffff);
        maybe_unknown(g, t);
    }
}

static void gen_series_field_v2(struct message_gen *g, struct text *t, unsigned number,
                                size_t symbols)
{
    struct text child = {0};
    switch (number) {
    case prom2_TimeSeries_labels_refs_tag:
        gen_refs(g, t, 2 * below(g, 8) + (size_t)one_in(g, 30), symbols);
        return;
    case prom2_TimeSeries_samples_tag:
        gen_sample_v2(g, &child);
        break;
    case prom2_TimeSeries_histograms_tag:
        gen_histogram(g, &child, prom2_Histogram_start_timestamp_tag);
        break;
    case prom2_TimeSeries_exemplars_tag:
        gen_exemplar_v2(g, &child, symbols);
        break;
    default:
        gen_metadata_v2(g, &child, symbols);
    }
    put_child(t, number, &child);
    maybe_unknown(g, t);
}

/* As Prometheus orders the fields, or in any order. */
static void gen_series_v2(struct message_gen *g, struct text *t, size_t symbols)
{
    static const unsigned usual[] = {prom2_TimeSeries_labels_refs_tag, prom2_TimeSeries_samples_tag,
                                     prom2_TimeSeries_exemplars_tag,
                                     prom2_TimeSeries_histograms_tag,
                                     prom2_TimeSeries_metadata_tag};
    if (symbols > 2 && !one_in(g, 4)) /* see gen_symbol */
        text_bytes(t, "\x0a\x02\x01\x02", 4);
    if (one_in(g, 3)) {
        for (size_t n = below(g, 12); n > 0; n--)
            gen_series_field_v2(g, t, 1 + (unsigned)below(g, prom2_TimeSeries_metadata_tag),
                                symbols);
        return;
    }
    for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
        if (i == 0 || !one_in(g, 3))
            gen_series_field_v2(g, t, usual[i], symbols);
}

/* The first is the empty string, the second a metric's name, without which a series is refused. */
static void gen_symbol(struct message_gen *g, struct text *t, size_t number)
{
    if (number == 0)
        text_bytes(t, "\x22\x00", 2);
    else if (number == 1 && !one_in(g, 8))
        text_bytes(t, "\x22\x08__name__", 10);
    else
        field_string(g, t, prom2_Request_symbols_tag);
}

/* Symbols stand before the series, behind them, or among them. */
void gen_write_v2(struct message_gen *g, struct text *out)
{
    size_t symbols = one_in(g, 10) ? 0 : 1 + below(g, one_in(g, 8) ? 300 : 12);
    size_t series = below(g, 5), left = symbols;
    const size_t place = below(g, 3);
    text_bytes(out, "", 0);
    while (left + series > 0) {
        const size_t turn = place == 0 ? 1 : place == 1 ? 0 : below(g, 2);
        struct text child = {0};
        if (left && (turn || !series)) {
            gen_symbol(g, out, symbols - left--);
        } else {
            gen_series_v2(g, &child, symbols);
            put_child(out, prom2_Request_timeseries_tag, &child);
            series--;
        }
        maybe_unknown(g, out);
    }
}

void gen_read_response(struct message_gen *g, struct text *out)
{
    text_bytes(out, "", 0);
    for (size_t n = below(g, 4); n > 0; n--) {
        struct text result = {0};
        for (size_t m = below(g, 4); m > 0; m--) {
            struct text series = {0};
            gen_series(g, &series);
            put_child(&result, prom_QueryResult_timeseries_tag, &series);
            maybe_unknown(g, &result);
        }
        put_child(out, prom_ReadResponse_results_tag, &result);
        maybe_unknown(g, out);
    }
}

static void gen_hints(struct message_gen *g, struct text *t)
{
    for (size_t n = below(g, 8); n > 0; n--) {
        unsigned number = 1 + (unsigned)below(g, prom_ReadHints_range_ms_tag);
        if (number == prom_ReadHints_func_tag || number == prom_ReadHints_grouping_tag)
            field_string(g, t, number);
        else if (number == prom_ReadHints_by_tag)
            field_u31(g, t, number, 3);
        else
            field_i64(g, t, number);
        maybe_unknown(g, t);
    }
}

static void gen_matcher(struct message_gen *g, struct text *t)
{
    for (size_t n = below(g, 5); n > 0; n--) {
        if (one_in(g, 3))
            field_u31(g, t, prom_LabelMatcher_type_tag, 5);
        else
            field_string(g, t,
                         one_in(g, 2) ? prom_LabelMatcher_name_tag : prom_LabelMatcher_value_tag);
        maybe_unknown(g, t);
    }
}

static void gen_query(struct message_gen *g, struct text *t)
{
    for (size_t n = below(g, 8); n > 0; n--) {
        unsigned number = 1 + (unsigned)below(g, prom_Query_hints_tag);
        struct text child = {0};
        if (number == prom_Query_matchers_tag) {
            gen_matcher(g, &child);
            put_child(t, number, &child);
        } else if (number == prom_Query_hints_tag) {
            gen_hints(g, &child);
            put_child(t, number, &child);
        } else {
            field_i64(g, t, number);
        }
        maybe_unknown(g, t);
    }
}

void gen_read_request(struct message_gen *g, struct text *out)
{
    text_bytes(out, "", 0);
    for (size_t n = below(g, 5); n > 0; n--) {
        struct text child = {0};
        if (one_in(g, 3)) {
            for (size_t m = below(g, 4); m > 0; m--)
                put_varint(g, &child, below(g, 300));
            put_child(out, prom_ReadRequest_accepted_response_types_tag, &child);
        } else if (one_in(g, 4)) {
            field_u31(g, out, prom_ReadRequest_accepted_response_types_tag, 300);
        } else {
            gen_query(g, &child);
            put_child(out, prom_ReadRequest_queries_tag, &child);
        }
        maybe_unknown(g, out);
    }
}

void gen_damage(struct message_gen *g, struct text *message)
{
    for (size_t n = 1 + below(g, 3); n > 0 && message->len > 0; n--) {
        size_t at = below(g, message->len);
        char *p = message->data + at;
        switch (below(g, 4)) {
        case 0:
            *p = (char)(*p ^ (1 << below(g, 8)));
            break;
        case 1:
            *p = (char)random_next(&g->random);
            break;
        case 2: /* a byte less */
            memmove(p, p + 1, message->len - at - 1);
            message->len--;
            break;
        default:
            message->len = at;
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding remote write 2.0, and from one version to the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/failing_alloc.h"
#include "support/message_gen.h"
#include "support/oracle.h"
#include "unit/write_fixture.h"

#define NOTHING ((pra_str){NULL, 0})

static pra_columns columns_of(const pra_write_request *req)
{
    pra_columns c = {.size = sizeof(c)};
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    return c;
}

static void decode(pra_write_request *req, int32_t version, const struct text *t)
{
    pra_error err = {0};
    if (pra_write_request_decode(req, version, t->data, t->len, NULL, &err))
        fail_msg("%s", err.message);
}

static void add_named(pra_write_request *req, const char *name)
{
    const pra_label label = {STR("__name__"), {name, strlen(name)}};
    assert_int_equal(pra_write_request_add_series(req, &label, 1), PRA_OK);
}

/* ---- writing 2.0 */

static void a_built_request_is_written_field_by_field(void **state)
{
    const pra_label labels[] = {{STR("__name__"), STR("up")}, {STR("job"), STR("up")}};
    const pra_label trace[] = {{STR("job"), STR("x")}};
    const int64_t timestamps[] = {1, 300}, starts[] = {0, -1};
    const double values[] = {1.0, 2.5};
    pra_write_request *req = new_request(NULL);
    (void)state;
    assert_encodes_to(req, PRA_WRITE_V2, "2200");
    assert_int_equal(pra_write_request_add_series(req, labels, 2), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(req, timestamps, values, starts, 2), PRA_OK);
    assert_int_equal(pra_write_request_add_exemplar(req, trace, 1, 7, 0.5), PRA_OK);
    assert_int_equal(
        pra_write_request_add_metadata(req, PRA_METRIC_GAUGE, NOTHING, STR("h"), STR("job")),
        PRA_OK);
    assert_int_equal(pra_write_request_add_series(req, NULL, 0), PRA_OK);
    assert_encodes_to(req, PRA_WRITE_V2,
                      "2200 22085f5f6e616d655f5f 22027570 22036a6f62 220178 220168"
                      "2a45 0a04 01020302 120b 09 000000000000f03f 1001"
                      "1217 09 0000000000000440 10ac02 18ffffffffffffffffff01"
                      "220f 0a020304 11 000000000000e03f 1807 2a06 0802 1805 2003"
                      "2a00");
    pra_write_request_free(req);
}

/* proto3: zeros are not written, but -0 and NaNs are no zeros [W-40] [W-42]. */
static void only_true_zeros_are_left_out(void **state)
{
    static const uint64_t bits[] = {0, UINT64_C(1) << 63, PRA_STALE_NAN_BITS};
    const int64_t timestamps[] = {0, 0, -1};
    double values[3];
    pra_write_request *req = new_request(NULL);
    (void)state;
    memcpy(values, bits, sizeof(values));
    assert_int_equal(pra_write_request_add_series(req, NULL, 0), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(req, timestamps, values, NULL, 3), PRA_OK);
    assert_int_equal(pra_write_request_add_exemplar(req, NULL, 0, 0, 0), PRA_OK);
    assert_encodes_to(req, PRA_WRITE_V2,
                      "2200 2a25 1200 1209 09 0000000000000080"
                      "1214 09 020000000000f07f 10 ffffffffffffffffff01 2200");
    pra_write_request_free(req);
}

/* Each string once, in the order of first use, however many there are. */
static void strings_are_written_once(void **state)
{
    enum { COUNT = 70000 };
    pra_write_request *req = new_request(NULL), *again = new_request(NULL);
    (void)state;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < COUNT; i++) {
            char value[32];
            const int len = snprintf(value, sizeof(value), "value %d", i);
            const pra_label label = {STR("name"), {value, (size_t)len}};
            assert_int_equal(pra_write_request_add_series(req, &label, 1), PRA_OK);
        }
    struct text encoded = encoding_of(req, PRA_WRITE_V2);
    decode(again, PRA_WRITE_V2, &encoded);
    pra_columns c = columns_of(again);
    assert_int_equal(c.symbol_count, COUNT + 2);
    assert_int_equal(c.symbols[0].len, 0);
    assert_int_equal(c.label_count, 2 * COUNT);
    for (size_t i = 0; i < c.label_count; i++) {
        assert_int_equal(c.label_refs[i].name, 1);
        assert_int_equal(c.label_refs[i].value, i % COUNT + 2);
        assert_int_equal((size_t)atol(c.base + c.labels[i].value.off + 6), i % COUNT);
    }
    text_free(&encoded);
    pra_write_request_free(req);
    pra_write_request_free(again);
}

/* Whatever decodes comes back the same, and nanopb reads it the same. */
static void random_messages_survive(void **state)
{
    struct message_gen g = {.random = 7, .groups = 1};
    pra_write_request *req = new_request(NULL), *again = new_request(NULL);
    (void)state;
    for (int i = 0; i < 3000; i++) {
        struct text message = {0}, theirs = {0};
        gen_write_v2(&g, &message);
        decode(req, PRA_WRITE_V2, &message);
        struct text encoded = encoding_of(req, PRA_WRITE_V2);
        decode(again, PRA_WRITE_V2, &encoded);
        struct text one = events_of(req), two = events_of(again);
        struct text once_more = encoding_of(again, PRA_WRITE_V2);
        text_bytes(&theirs, "", 0);
        assert_null(oracle_write_v2(encoded.data, encoded.len, &theirs));
        assert_string_equal(one.data, two.data);
        assert_string_equal(one.data, theirs.data);
        assert_same_text(&encoded, &once_more);
        text_free(&one);
        text_free(&two);
        text_free(&theirs);
        text_free(&once_more);
        text_free(&encoded);
        text_free(&message);
    }
    pra_write_request_free(req);
    pra_write_request_free(again);
}

/* ---- from one version to the other */

static void convert(const pra_write_request *from, int32_t version, pra_write_request *to)
{
    struct text encoded = encoding_of(from, version);
    pra_write_request_reset(to);
    /* The handle keeps the message itself: what is decoded borrows it. */
    pra_buffer *block;
    assert_int_equal(pra_buffer_new(NULL, &block), PRA_OK);
    assert_int_equal(pra_snappy_compress(encoded.data, encoded.len, block, NULL), PRA_OK);
    assert_int_equal(pra_write_request_decode_snappy(to, version, pra_buffer_data(block),
                                                     pra_buffer_len(block), NULL, NULL),
                     PRA_OK);
    pra_buffer_free(block);
    text_free(&encoded);
}

/* Everything but metadata, which belongs to something else there. */
static void v1_to_v2_and_back_is_the_same(void **state)
{
    struct message_gen g = {.random = 11};
    pra_write_request *v1 = new_request(NULL), *v2 = new_request(NULL), *back = new_request(NULL);
    (void)state;
    for (int i = 0; i < 2000; i++) {
        struct text message = {0};
        gen_write_v1(&g, &message);
        decode(v1, PRA_WRITE_V1, &message);
        convert(v1, PRA_WRITE_V2, v2);
        convert(v2, PRA_WRITE_V1, back);
        struct text one = events_of(v1), two = events_of(v2), three = events_of(back);
        events_strike(&one, "metadata ", 0);
        events_strike(&two, "metadata ", 0);
        events_strike(&three, "metadata ", 0);
        assert_string_equal(one.data, two.data);
        assert_string_equal(one.data, three.data);
        text_free(&one);
        text_free(&two);
        text_free(&three);
        text_free(&message);
    }
    pra_write_request_free(v1);
    pra_write_request_free(v2);
    pra_write_request_free(back);
}

/* And but start timestamps, which 1.0 has none of [W-44]. */
static void v2_to_v1_loses_start_timestamps(void **state)
{
    struct message_gen g = {.random = 12};
    pra_write_request *v2 = new_request(NULL), *v1 = new_request(NULL);
    size_t starts = 0;
    (void)state;
    for (int i = 0; i < 2000; i++) {
        struct text message = {0};
        gen_write_v2(&g, &message);
        decode(v2, PRA_WRITE_V2, &message);
        convert(v2, PRA_WRITE_V1, v1);
        pra_columns c = columns_of(v1);
        starts += columns_of(v2).start_timestamps_ms != NULL;
        assert_null(c.start_timestamps_ms);
        for (size_t j = 0; j < c.histogram_count; j++)
            assert_int_equal(c.histograms[j].start_timestamp_ms, 0);
        struct text one = events_of(v2), two = events_of(v1);
        events_strike(&one, "metadata ", 0);
        events_strike(&two, "metadata ", 0);
        events_strike(&one, " start=", 1);
        events_strike(&two, " start=", 1);
        assert_string_equal(one.data, two.data);
        text_free(&one);
        text_free(&two);
        text_free(&message);
    }
    assert_true(starts > 100);
    pra_write_request_free(v2);
    pra_write_request_free(v1);
}

/* Custom buckets go into field 16 of 1.0's histogram, as Prometheus has it [W-50]. */
static void custom_buckets_survive_in_v1(void **state)
{
    struct text message = message_in("golden/write_v2", "everything.hex");
    pra_write_request *v2 = new_request(NULL), *v1 = new_request(NULL);
    (void)state;
    decode(v2, PRA_WRITE_V2, &message);
    convert(v2, PRA_WRITE_V1, v1);
    pra_columns c = columns_of(v1);
    assert_int_equal(c.histogram_count, 3);
    assert_int_equal(c.histograms[2].schema, -53);
    assert_int_equal(c.histograms[2].custom_values.count, 2);
    assert_true(c.custom_values[0] == 0.5 && c.custom_values[1] == 1.0);
    text_free(&message);
    pra_write_request_free(v2);
    pra_write_request_free(v1);
}

/* ---- metadata [W-46] */

struct family_row {
    int32_t type;
    const char *family;
    const char *series;
    int fits;
};

/* Which series the metadata of a family goes to. */
static void metadata_of_families_goes_to_their_series(void **state)
{
    static const struct family_row rows[] = {
        {PRA_METRIC_GAUGE, "a", "a", 1},
        {PRA_METRIC_UNKNOWN, "a_total", "a_total", 1},
        {PRA_METRIC_GAUGE, "a", "a_total", 0},
        {PRA_METRIC_GAUGE, "a", "ab", 0},
        {PRA_METRIC_GAUGE, "ab", "a", 0},
        {PRA_METRIC_COUNTER, "a", "a_total", 1},
        {PRA_METRIC_COUNTER, "a_total", "a_total", 1},
        {PRA_METRIC_COUNTER, "a", "a_created", 1},
        {PRA_METRIC_COUNTER, "a", "a_sum", 0},
        {PRA_METRIC_HISTOGRAM, "a", "a_bucket", 1},
        {PRA_METRIC_HISTOGRAM, "a", "a_count", 1},
        {PRA_METRIC_HISTOGRAM, "a", "a_sum", 1},
        {PRA_METRIC_HISTOGRAM, "a", "a_created", 1},
        {PRA_METRIC_HISTOGRAM, "a", "a_total", 0},
        {PRA_METRIC_GAUGEHISTOGRAM, "a", "a_bucket", 1},
        {PRA_METRIC_SUMMARY, "a", "a_sum", 1},
        {PRA_METRIC_SUMMARY, "a", "a_bucket", 0},
        {PRA_METRIC_INFO, "a", "a_info", 1},
        {PRA_METRIC_STATESET, "a", "a", 1},
        {PRA_METRIC_STATESET, "a", "a_info", 0},
        {99, "a", "a", 1},
        {99, "a", "a_total", 0},
        {PRA_METRIC_COUNTER, "", "_total", 0},
    };
    pra_write_request *v2 = new_request(NULL);
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        pra_write_request *req = new_request(NULL);
        add_named(req, rows[i].series);
        assert_int_equal(pra_write_request_add_metadata(
                             req, rows[i].type, (pra_str){rows[i].family, strlen(rows[i].family)},
                             rows[i].family[0] ? STR("help") : NOTHING, NOTHING),
                         PRA_OK);
        if (!rows[i].family[0]) /* of the series itself then */
            assert_int_equal(columns_of(req).metadata[0].series, 0);
        convert(req, PRA_WRITE_V2, v2);
        pra_columns c = columns_of(v2);
        assert_int_equal(c.metadata_count, rows[i].fits || !rows[i].family[0]);
        if (rows[i].fits) {
            assert_int_equal(c.metadata[0].type, rows[i].type);
            assert_int_equal(c.metadata[0].series, 0);
            assert_int_equal(c.metadata[0].help.len, 4);
        }
        pra_write_request_free(req);
    }
    pra_write_request_free(v2);
}

/* What is said of the series itself comes before its family's, a name that is whole before one that
 * is cut, the later of two entries before the earlier. */
static void the_nearest_metadata_counts(void **state)
{
    pra_write_request *req = new_request(NULL), *v2 = new_request(NULL);
    (void)state;
    assert_int_equal(
        pra_write_request_add_metadata(req, PRA_METRIC_COUNTER, STR("a"), STR("cut"), NOTHING),
        PRA_OK);
    assert_int_equal(pra_write_request_add_metadata(req, PRA_METRIC_COUNTER, STR("a_total"),
                                                    STR("early"), NOTHING),
                     PRA_OK);
    add_named(req, "a_total");
    assert_int_equal(
        pra_write_request_add_metadata(req, PRA_METRIC_GAUGE, NOTHING, STR("own"), NOTHING),
        PRA_OK);
    add_named(req, "a_total");
    add_named(req, "a_created");
    add_named(req, "b");
    assert_int_equal(pra_write_request_add_metadata(req, PRA_METRIC_COUNTER, STR("a_total"),
                                                    STR("late"), STR("a")),
                     PRA_OK);
    convert(req, PRA_WRITE_V2, v2);
    struct text events = events_of(v2);
    assert_string_equal(events.data, "series\n  label \"__name__\"=\"a_total\"\n"
                                     "  metadata 2 \"own\" \"\"\n"
                                     "series\n  label \"__name__\"=\"a_total\"\n"
                                     "  metadata 1 \"late\" \"a\"\n"
                                     "series\n  label \"__name__\"=\"a_created\"\n"
                                     "  metadata 1 \"cut\" \"\"\n"
                                     "series\n  label \"__name__\"=\"b\"\n");
    /* Names of families are no symbols unless something uses them. */
    pra_columns c = columns_of(v2);
    for (size_t i = 0; i < c.symbol_count; i++)
        assert_false(c.symbols[i].len == 5 && memcmp(c.base + c.symbols[i].off, "early", 5) == 0);
    assert_int_equal(c.symbol_count, 9); /* "" __name__ a_total own late a a_created cut b */
    text_free(&events);
    pra_write_request_free(req);
    pra_write_request_free(v2);
}

static void metadata_of_series_becomes_one_entry_of_the_family(void **state)
{
    static const char *const names[] = {"h_bucket", "h_bucket", "h_sum", "h_count",
                                        "h",        "c_total",  "_sum"};
    pra_write_request *v2 = new_request(NULL), *v1 = new_request(NULL);
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const int32_t type = i == 5 ? PRA_METRIC_COUNTER : PRA_METRIC_HISTOGRAM;
        add_named(v2, names[i]);
        assert_int_equal(pra_write_request_add_metadata(v2, type, NOTHING, STR("x"), STR("s")),
                         PRA_OK);
    }
    assert_int_equal(pra_write_request_add_series(v2, NULL, 0), PRA_OK); /* has no name */
    assert_int_equal(
        pra_write_request_add_metadata(v2, PRA_METRIC_GAUGE, NOTHING, STR("x"), NOTHING), PRA_OK);
    convert(v2, PRA_WRITE_V1, v1);
    struct text events = events_of(v1);
    const char *metadata = strstr(events.data, "metadata");
    assert_non_null(metadata);
    assert_string_equal(metadata, "metadata 3 \"h\" \"x\" \"s\"\n"
                                  "metadata 1 \"c_total\" \"x\" \"s\"\n"
                                  "metadata 3 \"_sum\" \"x\" \"s\"\n");
    text_free(&events);
    pra_write_request_free(v2);
    pra_write_request_free(v1);
}

/* ---- start timestamps of what is built */

static void start_timestamps_may_come_late(void **state)
{
    const int64_t t[] = {1, 2}, starts[] = {0, 9}, none[] = {0, 0};
    const double v[] = {1, 2};
    pra_write_request *req = new_request(NULL);
    (void)state;
    add_named(req, "a");
    assert_int_equal(pra_write_request_add_samples(req, t, v, NULL, 2), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(req, t, v, none, 2), PRA_OK);
    assert_null(columns_of(req).start_timestamps_ms);
    assert_int_equal(pra_write_request_add_samples(req, t, v, starts, 2), PRA_OK);
    assert_int_equal(pra_write_request_add_samples(req, t, v, NULL, 1), PRA_OK);
    pra_columns c = columns_of(req);
    static const int64_t expected[] = {0, 0, 0, 0, 0, 9, 0};
    assert_int_equal(c.sample_count, 7);
    assert_memory_equal(c.start_timestamps_ms, expected, sizeof(expected));
    pra_series s = {.size = sizeof(s)};
    assert_int_equal(pra_columns_series(&c, 0, &s), PRA_OK);
    assert_ptr_equal(s.start_timestamps_ms, c.start_timestamps_ms);
    pra_write_request_reset(req);
    add_named(req, "a");
    assert_int_equal(pra_write_request_add_samples(req, t, v, NULL, 2), PRA_OK);
    assert_null(columns_of(req).start_timestamps_ms);
    pra_write_request_free(req);
}

/* ---- single histograms */

static void a_histogram_survives_as_bytes(void **state)
{
    struct message_gen g = {.random = 3};
    pra_write_request *req = new_request(NULL), *copy = new_request(NULL);
    pra_buffer *out;
    size_t count = 0;
    (void)state;
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    for (int i = 0; i < 1000; i++) {
        struct text message = {0};
        gen_write_v2(&g, &message);
        decode(req, PRA_WRITE_V2, &message);
        pra_columns c = columns_of(req);
        for (size_t j = 0; j < c.histogram_count; j++) {
            pra_buffer_reset(out);
            assert_int_equal(pra_histogram_encode(&c, j, out), PRA_OK);
            pra_write_request_reset(copy);
            assert_int_equal(pra_write_request_add_series(copy, NULL, 0), PRA_OK);
            assert_int_equal(pra_write_request_add_histogram_encoded(copy, pra_buffer_data(out),
                                                                     pra_buffer_len(out), NULL),
                             PRA_OK);
            assert_int_equal(pra_write_request_add_series(copy, NULL, 0), PRA_OK);
            assert_int_equal(pra_write_request_add_histogram(copy, &c, j), PRA_OK);
            struct text events = events_of(copy);
            const size_t half = events.len / 2;
            assert_int_equal(events.len % 2, 0);
            assert_memory_equal(events.data, events.data + half, half);
            text_free(&events);
            count++;
        }
        text_free(&message);
    }
    assert_true(count > 500);
    pra_buffer_free(out);
    pra_write_request_free(req);
    pra_write_request_free(copy);
}

/* A histogram that is refused leaves nothing behind. */
static void a_malformed_histogram_is_not_added(void **state)
{
    struct text whole = text_of_hex("080c 42 0408011002 4a02 0201 5a0210 01 6a08 000000000000f03f"
                                    "8201 08 000000000000d03f 7805");
    pra_write_request *req = new_request(NULL);
    pra_error err = {0};
    pra_columns c;
    size_t refused = 0;
    (void)state;
    assert_int_equal(pra_write_request_add_histogram_encoded(req, "", 0, &err), PRA_ERR_STATE);
    add_named(req, "a");
    assert_int_equal(pra_write_request_add_histogram_encoded(req, NULL, 1, &err),
                     PRA_ERR_INVALID_ARG);
    for (size_t len = 0; len < whole.len; len++) {
        const pra_columns before = columns_of(req);
        int rc = pra_write_request_add_histogram_encoded(req, whole.data, len, &err);
        c = columns_of(req);
        assert_int_equal(c.histogram_count, before.histogram_count + (rc == PRA_OK));
        if (rc == PRA_OK)
            continue;
        refused++;
        assert_int_equal(rc, PRA_ERR_PROTO);
        assert_int_equal(err.code, PRA_ERR_PROTO);
        assert_true(err.offset <= len);
        assert_int_equal(c.bucket_span_count, before.bucket_span_count);
        assert_int_equal(c.negative_bucket_span_count, before.negative_bucket_span_count);
        assert_int_equal(c.negative_delta_count, before.negative_delta_count);
        assert_int_equal(c.positive_count_count, before.positive_count_count);
        assert_int_equal(c.custom_value_count, before.custom_value_count);
    }
    assert_true(refused > 20);
    c = columns_of(req);
    assert_int_equal(pra_histogram_encode(&c, c.histogram_count, NULL), PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_write_request_add_histogram_encoded(req, NULL, 0, &err), PRA_OK);
    text_free(&whole);
    pra_write_request_free(req);
}

/* ---- memory */

static void warm_encoding_does_not_call_the_allocator(void **state)
{
    struct text message = message_in("golden/write_v2", "everything.hex"), many = {0};
    struct failing_alloc f;
    pra_write_request *req;
    pra_buffer *out;
    (void)state;
    for (int i = 0; i < 100; i++)
        text_append(&many, &message);
    failing_alloc_init(&f);
    assert_int_equal(pra_write_request_new(&f.alloc, &req), PRA_OK);
    assert_int_equal(pra_buffer_new(&f.alloc, &out), PRA_OK);
    for (int i = 0; i < 4; i++) {
        const size_t calls = f.calls + f.frees;
        decode(req, PRA_WRITE_V2, &many);
        for (int32_t version = PRA_WRITE_V1; version <= PRA_WRITE_V2; version++) {
            pra_buffer_reset(out);
            assert_int_equal(pra_write_request_encode(req, version, out, NULL), PRA_OK);
        }
        if (i > 0)
            assert_int_equal(f.calls + f.frees, calls);
    }
    pra_buffer_free(out);
    pra_write_request_free(req);
    assert_int_equal(f.live, 0);
    text_free(&many);
    text_free(&message);
}

/* What encoding takes is in the budget of the request; it is freed with it, and reset gives it back
 * as the rest. */
static void encoding_keeps_to_the_budget(void **state)
{
    enum { BUDGET = 1 << 20 };
    pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = BUDGET, .retain_bytes = 1};
    struct text series = {0};
    pra_write_request *req = new_request(NULL);
    pra_buffer *out;
    pra_error err = {0};
    (void)state;
    for (int i = 0; i < 9000; i++) { /* one label each: x with another value */
        struct text label = {0}, labels = {0};
        char value[32];
        (void)snprintf(value, sizeof(value), "value %d", i);
        put_field(&label, '\x0a', "x", 1);
        put_field(&label, '\x12', value, strlen(value));
        put_field(&labels, '\x0a', label.data, label.len);
        put_field(&series, '\x0a', labels.data, labels.len);
        text_free(&label);
        text_free(&labels);
    }
    assert_int_equal(
        pra_write_request_decode(req, PRA_WRITE_V1, series.data, series.len, &limits, &err),
        PRA_OK);
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_buffer_append(out, "x", 1), PRA_OK);
    assert_int_equal(pra_write_request_encode(req, PRA_WRITE_V2, out, &err), PRA_ERR_MEMORY_BUDGET);
    assert_int_equal(err.code, PRA_ERR_MEMORY_BUDGET);
    assert_int_equal(pra_buffer_len(out), 1);
    assert_true(pra_write_request_memory(req) <= BUDGET + 4096);
    assert_int_equal(pra_write_request_encode(req, PRA_WRITE_V1, out, &err), PRA_OK);
    pra_write_request_reset(req);
    assert_true(pra_write_request_memory(req) <= 4096);
    text_free(&series);
    pra_buffer_free(out);
    pra_write_request_free(req);
}

struct source {
    int32_t version;
    struct text message;
};

static int decode_and_encode(struct failing_alloc *f, void *arg)
{
    const struct source *source = arg;
    pra_write_request *req = NULL;
    pra_buffer *out = NULL;
    int rc = pra_write_request_new(&f->alloc, &req);
    if (rc == PRA_OK)
        rc = pra_buffer_new(&f->alloc, &out);
    if (rc == PRA_OK)
        rc = pra_write_request_decode(req, source->version, source->message.data,
                                      source->message.len, NULL, NULL);
    for (int32_t version = PRA_WRITE_V1; rc == PRA_OK && version <= PRA_WRITE_V2; version++) {
        pra_buffer_reset(out);
        rc = pra_write_request_encode(req, version, out, NULL);
        if (rc)
            assert_int_equal(pra_buffer_len(out), 0);
    }
    pra_columns c = {.size = sizeof(c)};
    if (rc == PRA_OK)
        rc = pra_write_request_columns(req, &c);
    for (size_t i = 0; rc == PRA_OK && i < c.histogram_count && i < 3; i++) {
        pra_write_request *copy = NULL;
        pra_buffer_reset(out);
        rc = pra_histogram_encode(&c, i, out);
        if (rc == PRA_OK)
            rc = pra_write_request_new(&f->alloc, &copy);
        if (rc == PRA_OK)
            rc = pra_write_request_add_series(copy, NULL, 0);
        if (rc == PRA_OK)
            rc = pra_write_request_add_histogram_encoded(copy, pra_buffer_data(out),
                                                         pra_buffer_len(out), NULL);
        pra_write_request_free(copy);
    }
    pra_buffer_free(out);
    pra_write_request_free(req);
    return rc;
}

static void running_out_of_memory_leaves_nothing(void **state)
{
    (void)state;
    for (int32_t version = PRA_WRITE_V1; version <= PRA_WRITE_V2; version++) {
        struct text message = message_in(
            version == PRA_WRITE_V1 ? "golden/write_v1" : "golden/write_v2", "everything.hex");
        struct source source = {version, {0}};
        for (int i = 0; i < 20; i++)
            text_append(&source.message, &message);
        const char *wrong = failing_alloc_loop(decode_and_encode, &source);
        if (wrong)
            fail_msg("%s", wrong);
        text_free(&source.message);
        text_free(&message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_built_request_is_written_field_by_field),
        cmocka_unit_test(only_true_zeros_are_left_out),
        cmocka_unit_test(strings_are_written_once),
        cmocka_unit_test(random_messages_survive),
        cmocka_unit_test(v1_to_v2_and_back_is_the_same),
        cmocka_unit_test(v2_to_v1_loses_start_timestamps),
        cmocka_unit_test(custom_buckets_survive_in_v1),
        cmocka_unit_test(metadata_of_families_goes_to_their_series),
        cmocka_unit_test(the_nearest_metadata_counts),
        cmocka_unit_test(metadata_of_series_becomes_one_entry_of_the_family),
        cmocka_unit_test(start_timestamps_may_come_late),
        cmocka_unit_test(a_histogram_survives_as_bytes),
        cmocka_unit_test(a_malformed_histogram_is_not_added),
        cmocka_unit_test(warm_encoding_does_not_call_the_allocator),
        cmocka_unit_test(encoding_keeps_to_the_budget),
        cmocka_unit_test(running_out_of_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

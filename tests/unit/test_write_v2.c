/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "message/write_request.h"
#include "support/failing_alloc.h"
#include "support/oracle.h"
#include "unit/write_fixture.h"

static int decode_limited(pra_write_request *req, const struct text *t, const pra_limits *limits,
                          pra_error *err)
{
    return pra_write_request_decode(req, PRA_WRITE_V2, t->data, t->len, limits, err);
}

static int decode(pra_write_request *req, const struct text *t)
{
    return decode_limited(req, t, NULL, NULL);
}

static int decode_hex(pra_write_request *req, const char *hex, struct text *message)
{
    *message = text_of_hex(hex);
    return decode(req, message);
}

static pra_columns columns_of(const pra_write_request *req)
{
    pra_columns c = {.size = sizeof(c)};
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    return c;
}

static void golden_vectors(void **state)
{
    (void)state;
    check_all_golden("golden/write_v2", PRA_WRITE_V2, 40);
}

/* Cut anywhere it is refused, but for cuts between two fields of the outermost message. */
static void every_truncation_is_refused_or_whole(void **state)
{
    struct text message = message_in("golden/write_v2", "everything.hex");
    (void)state;
    /* nothing, after each of nine symbols and three series */
    assert_int_equal(check_every_truncation(message, PRA_WRITE_V2), 13);
    text_free(&message);
}

/* ---- symbols [W-33] */

/* The table and the numbers are shown beside the strings. */
static void symbols_can_be_used_as_keys(void **state)
{
    struct text t;
    pra_write_request *req = new_request(NULL);
    (void)state;
    assert_int_equal(decode_hex(req, "2200 220161 220162 2a06 0a04 01020201 2a04 0a02 0202", &t),
                     PRA_OK);
    pra_columns c = columns_of(req);
    assert_int_equal(c.symbol_count, 3);
    for (size_t i = 0; i < c.label_count; i++) {
        assert_memory_equal(&c.symbols[c.label_refs[i].name], &c.labels[i].name, sizeof(pra_span));
        assert_memory_equal(&c.symbols[c.label_refs[i].value], &c.labels[i].value,
                            sizeof(pra_span));
    }
    assert_int_equal(c.label_refs[0].name, 1);
    assert_int_equal(c.label_refs[1].value, 1);
    pra_series s = {.size = sizeof(s)};
    assert_int_equal(pra_columns_series(&c, 1, &s), PRA_OK);
    assert_ptr_equal(s.label_refs, c.label_refs + 2);
    text_free(&t);
    /* A message of 1.0 in the same handle has none. */
    t = text_of_hex("0a08 0a06 0a0161 120162");
    assert_int_equal(pra_write_request_decode(req, PRA_WRITE_V1, t.data, t.len, NULL, NULL),
                     PRA_OK);
    c = columns_of(req);
    assert_int_equal(c.symbol_count, 0);
    assert_true(c.symbols == NULL && c.label_refs == NULL && c.start_timestamps_ms == NULL);
    pra_write_request_free(req);
    text_free(&t);
}

struct fault_row {
    const char *hex;
    struct pra__fault faults[3];
    size_t count;
};

/* Every place where a reference can occur; the rest of the message is as if they were right. */
static void wrong_references_are_noted_where_they_occur(void **state)
{
    enum { ALL = PRA_DATUM_SERIES, EXEMPLAR = PRA_DATUM_EXEMPLAR };
    /* clang-format off */
    static const struct fault_row rows[] = {
        {"2200 220161  2a04 0a020101", {{0}}, 0},
        {"2200 220161  2a04 0a020102", {{0, UINT32_MAX, ALL, PRA__FAULT_REF, 2}}, 1},
        {"2200 220161  2a04 0a020701", {{0, UINT32_MAX, ALL, PRA__FAULT_REF, 7}}, 1},
        {"2200 220161  2a04 0a020709 2a04 0a020101 2a06 0a0401010109",
         {{0, UINT32_MAX, ALL, PRA__FAULT_REF, 7}, {2, UINT32_MAX, ALL, PRA__FAULT_REF, 9}}, 2},
        {"2200 220161  2a05 0a03010101", {{0, UINT32_MAX, ALL, PRA__FAULT_ODD_REFS, 3}}, 1},
        {"2200 220161  2a05 0a03010901", {{0, UINT32_MAX, ALL, PRA__FAULT_ODD_REFS, 3}}, 1},
        {"2200 220161  2a03 0a0101", {{0, UINT32_MAX, ALL, PRA__FAULT_ODD_REFS, 1}}, 1},
        {"2200 220161  2a04 2a021803", {{0, UINT32_MAX, ALL, PRA__FAULT_HELP_REF, 3}}, 1},
        {"2200 220161  2a04 2a022002", {{0, UINT32_MAX, ALL, PRA__FAULT_UNIT_REF, 2}}, 1},
        /* one of a series, the labels' first */
        {"2200 220161  2a0a 2a0420021803 0a020105", {{0, UINT32_MAX, ALL, PRA__FAULT_REF, 5}}, 1},
        /* exemplars each have their own, and are there beside that of the series */
        {"2200 220161  2a13 22040a020101 22040a020105 22030a0101 0a00",
         {{0, 1, EXEMPLAR, PRA__FAULT_REF, 5}, {0, 2, EXEMPLAR, PRA__FAULT_ODD_REFS, 1}}, 2},
        {"2200 220161  2a00 2a0a 22040a020105 0a020109",
         {{1, 0, EXEMPLAR, PRA__FAULT_REF, 5}, {1, UINT32_MAX, ALL, PRA__FAULT_REF, 9}}, 2},
        /* without symbols even what is not set is out of range */
        {"2a00", {{0, UINT32_MAX, ALL, PRA__FAULT_UNIT_REF, 0}}, 1},
    };
    /* clang-format on */
    pra_write_request *req = new_request(NULL);
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text t;
        assert_int_equal(decode_hex(req, rows[i].hex, &t), PRA_OK);
        const struct pra__column *faults = &req->cols.col[PRA__COL_FAULTS];
        assert_int_equal(faults->len, rows[i].count);
        if (faults->len)
            assert_memory_equal(faults->data, rows[i].faults,
                                faults->len * sizeof(struct pra__fault));
        pra_columns c = columns_of(req);
        for (size_t j = 0; j < c.label_count; j++)
            assert_true(c.label_refs[j].name < c.symbol_count &&
                        c.label_refs[j].value < c.symbol_count);
        text_free(&t);
    }
    pra_write_request_free(req);
}

/* Wherever the symbols stand, the columns are the same. */
static void the_place_of_symbols_does_not_matter(void **state)
{
    static const char *const symbols[] = {"2200", "220161", "220162", "220163"};
    static const char series[] = "2a0e 0a040102 0203 2a0408021803 0a00";
    struct text expected = {0};
    pra_write_request *req = new_request(NULL);
    (void)state;
    for (int before = 4; before >= 0; before--) {
        struct text hex = {0}, t;
        for (int i = 0; i < before; i++)
            text_printf(&hex, "%s", symbols[i]);
        text_printf(&hex, "%s", series);
        for (int i = before; i < 4; i++)
            text_printf(&hex, "%s", symbols[i]);
        text_printf(&hex, "%s", series);
        assert_int_equal(decode_hex(req, hex.data, &t), PRA_OK);
        assert_int_equal(req->cols.col[PRA__COL_FAULTS].len, 0);
        assert_int_equal(columns_of(req).symbol_count, 4);
        struct text got = events_of(req);
        if (before == 4)
            expected = got;
        else
            assert_string_equal(got.data, expected.data);
        if (before < 4)
            text_free(&got);
        text_free(&hex);
        text_free(&t);
    }
    text_free(&expected);
    pra_write_request_free(req);
}

/* Symbols and references beyond the loops for the usual shape. */
static void more_than_65535_symbols(void **state)
{
    enum { COUNT = 70000 };
    struct text t = {0}, refs = {0}, series = {0};
    pra_limits limits = {.size = sizeof(limits), .max_labels_per_series = PRA_UNLIMITED};
    pra_write_request *req = new_request(NULL);
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        char symbol[200];
        (void)snprintf(symbol, sizeof(symbol), "%zu%*s", i, (int)(i % 3 * 70), "");
        put_field(&t, '\x22', symbol, strlen(symbol));
        put_varint(&refs, i);
        put_varint(&refs, COUNT - 1 - i);
    }
    put_field(&series, '\x0a', refs.data, refs.len);
    put_field(&t, '\x2a', series.data, series.len);
    assert_int_equal(decode_limited(req, &t, &limits, NULL), PRA_OK);
    pra_columns c = columns_of(req);
    assert_int_equal(c.symbol_count, COUNT);
    assert_int_equal(c.label_count, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(c.label_refs[i].name, i);
        assert_int_equal(c.label_refs[i].value, COUNT - 1 - i);
        assert_int_equal((size_t)atol(c.base + c.labels[i].name.off), i);
    }
    text_free(&series);
    text_free(&refs);
    text_free(&t);
    pra_write_request_free(req);
}

/* ---- values [W-40] [W-42] [W-44] */

static void all_bits_of_a_value_survive(void **state)
{
    static const uint64_t bits[] = {PRA_STALE_NAN_BITS, PRA_NORMAL_NAN_BITS,
                                    UINT64_C(0xfff0000000000001), UINT64_C(1) << 63, 1};
    pra_write_request *req = new_request(NULL);
    (void)state;
    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        struct text sample = {0}, series = {0}, t = {0};
        text_bytes(&sample, "\x18\x05\x09", 3); /* the start timestamp first */
        text_bytes(&sample, &bits[i], 8);
        put_field(&series, '\x12', sample.data, sample.len);
        put_field(&series, '\x12', sample.data + 2, 9);
        put_field(&t, '\x2a', series.data, series.len);
        assert_int_equal(decode(req, &t), PRA_OK);
        pra_columns c = columns_of(req);
        assert_int_equal(bits_of(&c.values[0]), bits[i]);
        assert_int_equal(bits_of(&c.values[1]), bits[i]);
        assert_int_equal(c.start_timestamps_ms[0], 5);
        assert_int_equal(c.start_timestamps_ms[1], 0);
        text_free(&sample);
        text_free(&series);
        text_free(&t);
    }
    pra_write_request_free(req);
}

/* What an earlier message left in the columns is not seen [W-40]. */
static void zeros_are_zeros_in_a_reused_handle(void **state)
{
    struct text full = message_in("golden/write_v2", "everything.hex"), t;
    pra_write_request *req = new_request(NULL), *fresh = new_request(NULL);
    static const char zeros[] = "2200 2a16 1200 1202 1801 1200 2200 1a00 2a00 1202 1001 0a020000";
    (void)state;
    assert_int_equal(decode(req, &full), PRA_OK);
    assert_int_equal(decode_hex(req, zeros, &t), PRA_OK);
    assert_int_equal(decode(fresh, &t), PRA_OK);
    struct text one = events_of(req), two = events_of(fresh);
    assert_string_equal(one.data, two.data);
    assert_int_equal(columns_of(req).start_timestamps_ms[3], 0);
    text_free(&one);
    text_free(&two);
    text_free(&t);
    text_free(&full);
    pra_write_request_free(req);
    pra_write_request_free(fresh);
}

/* Where no start timestamp is sent there is no column of them [W-44]. */
static void start_timestamps_are_there_if_sent(void **state)
{
    struct text t;
    pra_write_request *req = new_request(NULL);
    (void)state;
    assert_int_equal(decode_hex(req, "2200 2a08 1202 1001 1202 1800", &t), PRA_OK);
    assert_null(columns_of(req).start_timestamps_ms);
    text_free(&t);
    assert_int_equal(decode_hex(req, "2200 2a04 1202 1001 2a04 1202 1807 2a02 1200", &t), PRA_OK);
    pra_columns c = columns_of(req);
    assert_int_equal(c.sample_count, 3);
    assert_int_equal(c.start_timestamps_ms[0], 0);
    assert_int_equal(c.start_timestamps_ms[1], 7);
    assert_int_equal(c.start_timestamps_ms[2], 0);
    text_free(&t);
    /* Field 17 of a histogram and 3 of a sample are unknown to 1.0. */
    t = text_of_hex("0a0b 1202 1807 2205 880107 7801");
    assert_int_equal(pra_write_request_decode(req, PRA_WRITE_V1, t.data, t.len, NULL, NULL),
                     PRA_OK);
    c = columns_of(req);
    assert_null(c.start_timestamps_ms);
    assert_int_equal(c.histograms[0].start_timestamp_ms, 0);
    assert_int_equal(c.histograms[0].timestamp_ms, 1);
    text_free(&t);
    pra_write_request_free(req);
}

/* ---- limits */

struct limit_row {
    const char *hex;
    pra_limits limits;
    int rc;
    const char *said[3];
};

static void each_limit_says_how_to_raise_it(void **state)
{
    /* clang-format off */
    static const struct limit_row rows[] = {
        {"2200 2a00 2a08 0a06000000000000", {.max_labels_per_series = 2}, PRA_ERR_LABEL_COUNT,
         {"series 1", "3 labels", "--limit.labels-per-series"}},
        {"2200 2203616161 2a04 0a020001 2a04 0a020100", {.max_label_name_bytes = 2},
         PRA_ERR_LABEL_NAME_LENGTH, {"series 1", "3 bytes", "--limit.label-name-length"}},
        {"2200 2203616161 2a04 0a020100 2a04 0a020001", {.max_label_value_bytes = 2},
         PRA_ERR_LABEL_VALUE_LENGTH, {"series 1", "3 bytes", "--limit.label-value-length"}},
        {"2200 2203616161 2a06 2204 0a020100", {.max_label_name_bytes = 2},
         PRA_ERR_LABEL_NAME_LENGTH, {"series 0", "3 bytes", "--limit.label-name-length"}},
        {"2200 2a00 2a00", {.max_decoded_bytes = 5}, PRA_ERR_DECODED_TOO_LARGE,
         {"6 bytes", "--limit.decoded-size", ""}},
        {"2200 2a00 2a00 2a00", {.max_memory_bytes = 70}, PRA_ERR_MEMORY_BUDGET,
         {"series 0", "max_memory_bytes (70", "--limit.request-memory"}},
    };
    /* clang-format on */
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text t = text_of_hex(rows[i].hex);
        pra_write_request *req = new_request(NULL);
        pra_limits limits = rows[i].limits;
        pra_error err = {0};
        limits.size = sizeof(limits);
        assert_int_equal(decode_limited(req, &t, &limits, &err), rows[i].rc);
        assert_int_equal(err.http_status, pra_http_status(rows[i].rc));
        for (size_t j = 0; j < 3; j++)
            if (!strstr(err.message, rows[i].said[j]))
                fail_msg("\"%s\" does not say \"%s\"", err.message, rows[i].said[j]);
        assert_empty(req);
        assert_int_equal(decode(req, &t), PRA_OK);
        pra_write_request_free(req);
        text_free(&t);
    }
}

/* A symbol may be longer than labels may be, if it is none: help, or not used at all. */
static void help_may_be_longer_than_labels(void **state)
{
    pra_limits limits = {
        .size = sizeof(limits), .max_label_name_bytes = 2, .max_label_value_bytes = 2};
    struct text t = text_of_hex("2200 22026161 2203626262 2a08 0a020101 2a021802");
    pra_write_request *req = new_request(NULL);
    (void)state;
    assert_int_equal(decode_limited(req, &t, &limits, NULL), PRA_OK);
    assert_int_equal(columns_of(req).metadata[0].help.len, 3);
    pra_write_request_free(req);
    text_free(&t);
}

/* A symbol that is sent once counts as often as it is used: this is what storages write out. */
static void strings_count_as_often_as_they_are_used(void **state)
{
    enum { LONG = 100000, USES = 50 };
    static const char *const series[] = {
        "2a04 0a020101",                    /* a label: twice */
        "2a0a 0a020000 2204 0a020101",      /* an exemplar's: twice */
        "2a0c 0a020000 0a020000 2a02 1801", /* help: once */
        "2a0c 0a020000 0a020000 2a02 2001"  /* unit: once */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++) {
        struct text t = text_of_hex("2200 22a08d06"), one = text_of_hex(series[i]);
        pra_write_request *req = new_request(NULL);
        const uint64_t sum = (uint64_t)LONG * USES * (i < 2 ? 2 : 1);
        pra_limits limits = {.size = sizeof(limits), .max_label_name_bytes = LONG};
        pra_error err = {0};
        put_repeated(&t, "x", 1, LONG);
        put_repeated(&t, one.data, one.len, USES);
        limits.max_memory_bytes = sum;
        assert_int_equal(decode_limited(req, &t, &limits, &err), PRA_OK);
        limits.max_memory_bytes = sum - 1;
        assert_int_equal(decode_limited(req, &t, &limits, &err), PRA_ERR_MEMORY_BUDGET);
        assert_non_null(strstr(err.message, "written out"));
        assert_empty(req);
        pra_write_request_free(req);
        text_free(&t);
        text_free(&one);
    }
}

/* ---- bombs: 32 MiB of empty elements, whatever the element */

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static void bombs_stay_within_the_budget(void **state)
{
    enum { BUDGET = 128 << 20, BYTES = (32 << 20) - 64 };
    static const struct {
        const char *unit;
        size_t len;
        int in_series; /* repeated inside of one series, else in the message */
    } rows[] = {
        {"\x22\0", 2, 0},                              /* symbols */
        {"\x2a\0", 2, 0},                              /* series */
        {"\x2a\x02\x0a\0", 4, 0},                      /* series with empty references */
        {"\x2a\x03\x0a\x01\x05", 5, 0},                /* series with a fault */
        {"\x0a\x02\x01\x01", 4, 1},                    /* labels, packed in twos */
        {"\x08\x01", 2, 1},                            /* labels, unpacked */
        {"\x12\0", 2, 1},                              /* samples */
        {"\x12\x02\x18\x01", 4, 1},                    /* samples with start */
        {"\x22\0", 2, 1},                              /* exemplars */
        {"\x22\x03\x0a\x01\x01", 5, 1},                /* exemplars with a fault */
        {"\x22\x04\x0a\x02\x01\x01", 6, 1},            /* exemplars with a label */
        {"\x1a\0", 2, 1},                              /* histograms */
        {"\x1a\x02\x42\0", 4, 1},                      /* histograms with a span */
        {"\x1a\x0b\x62\x09\0\0\0\0\0\0\0\0\0", 13, 1}, /* with deltas */
        {"\x2a\0", 2, 1},                              /* metadata: no memory at all */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text t = {0};
        struct failing_alloc f;
        pra_write_request *req;
        pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = BUDGET};
        limits.max_labels_per_series = PRA_UNLIMITED;
        pra_error err = {0};
        if (rows[i].in_series)
            t = repeated_in('\x2a', rows[i].unit, rows[i].len, BYTES / rows[i].len);
        else
            put_repeated(&t, rows[i].unit, rows[i].len, BYTES / rows[i].len);
        failing_alloc_init(&f);
        assert_int_equal(pra_write_request_new(&f.alloc, &req), PRA_OK);
        const double start = cpu_seconds();
        int rc = decode_limited(req, &t, &limits, &err);
        print_message("%2zu: %s, %.0f ms, %.1f MiB\n", i, pra_error_name(rc),
                      (cpu_seconds() - start) * 1e3, (double)f.peak / (1 << 20));
        assert_true(rc == PRA_ERR_MEMORY_BUDGET || i + 1 == sizeof(rows) / sizeof(rows[0]));
        assert_true(f.peak <= BUDGET - t.len + 4096);
        pra_write_request_free(req);
        assert_int_equal(f.live, 0);
        assert_int_equal(f.wrong_size, 0);
        text_free(&t);
    }
}

/* ---- reuse */

/* As Prometheus sends it: symbols, then series of labels, a sample and metadata. */
static struct text usual_message(size_t count)
{
    struct text t = {0}, all = {0};
    put_field(&t, '\x22', "", 0);
    for (int j = 0; j < 7; j++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "label_%d", j);
        put_field(&t, '\x22', name, strlen(name));
    }
    for (size_t i = 0; i < count; i++) {
        struct text refs = {0}, one = {0};
        char value[32];
        (void)snprintf(value, sizeof(value), "value %zu", i);
        put_field(&t, '\x22', value, strlen(value));
        for (size_t j = 1; j < 7; j++) {
            put_varint(&refs, j);
            put_varint(&refs, 8 + i);
        }
        put_field(&one, '\x0a', refs.data, refs.len);
        put_field(&one, '\x12', "\x09\0\0\0\0\0\0\xf0\x3f\x10\xe8\x07\x18\x01", i % 2 ? 12 : 14);
        if (i % 5 == 0) /* zeros */
            put_field(&one, '\x12', "\x10\xe8\x07\x18\x81\x01", i % 3 ? 3 : 6);
        put_field(&one, '\x2a', "\x08\x01\x18\x07", i % 3 ? 4 : 0);
        put_field(&all, '\x2a', one.data, one.len);
        text_free(&refs);
        text_free(&one);
    }
    text_append(&t, &all);
    text_free(&all);
    return t;
}

/* The loop for usual series takes these, whatever the columns have room for. */
static void usual_series_are_read_as_nanopb_reads_them(void **state)
{
    struct text t = usual_message(300), theirs = {0};
    pra_write_request *req = new_request(NULL);
    (void)state;
    text_bytes(&theirs, "", 0);
    assert_null(oracle_write_v2(t.data, t.len, &theirs));
    for (size_t retain = 1; retain < 100000; retain += 4000) {
        pra_limits limits = {.size = sizeof(limits), .retain_bytes = retain};
        assert_int_equal(decode_limited(req, &t, &limits, NULL), PRA_OK);
        struct text ours = events_of(req);
        assert_string_equal(ours.data, theirs.data);
        text_free(&ours);
    }
    pra_write_request_free(req);
    text_free(&theirs);
    text_free(&t);
}

static void a_warm_handle_does_not_call_the_allocator(void **state)
{
    struct text t = usual_message(5000);
    struct failing_alloc f;
    pra_write_request *req;
    pra_buffer *block;
    (void)state;
    failing_alloc_init(&f);
    assert_int_equal(pra_buffer_new(NULL, &block), PRA_OK);
    assert_int_equal(pra_snappy_compress(t.data, t.len, block, NULL), PRA_OK);
    assert_int_equal(pra_write_request_new(&f.alloc, &req), PRA_OK);
    for (int i = 0; i < 4; i++) {
        size_t calls = f.calls + f.frees;
        assert_int_equal(pra_write_request_decode_snappy(req, PRA_WRITE_V2, pra_buffer_data(block),
                                                         pra_buffer_len(block), NULL, NULL),
                         PRA_OK);
        if (i > 0)
            assert_int_equal(f.calls + f.frees, calls);
        if (i == 2)
            pra_write_request_reset(req);
    }
    assert_int_equal(columns_of(req).label_count, 30000);
    assert_int_equal(columns_of(req).metadata_count, 3333);
    pra_write_request_free(req);
    pra_buffer_free(block);
    text_free(&t);
}

/* What a handle holds from a message of another shape does not count against this one. */
static void a_warm_handle_refuses_no_more_than_a_cold_one(void **state)
{
    struct text symbols = {0}, samples = repeated_in('\x2a', "\x12\0", 2, 80000);
    pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = 3 << 20};
    pra_write_request *req = new_request(NULL);
    (void)state;
    put_repeated(&symbols, "\x22\0", 2, 150000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(decode_limited(req, &symbols, &limits, NULL), PRA_OK);
        assert_int_equal(decode_limited(req, &samples, &limits, NULL), PRA_OK);
        assert_true(pra_write_request_memory(req) < (3 << 20));
    }
    pra_write_request_free(req);
    text_free(&symbols);
    text_free(&samples);
}

/* ---- memory running out */

static int decode_all(struct failing_alloc *f, void *arg)
{
    const struct text *t = arg;
    pra_write_request *req = NULL;
    int rc = pra_write_request_new(&f->alloc, &req);
    if (rc)
        return rc;
    rc = pra_write_request_decode_snappy(req, PRA_WRITE_V2, t->data, t->len, NULL, NULL);
    if (rc)
        assert_empty(req);
    pra_write_request_free(req);
    return rc;
}

static void running_out_of_memory_leaves_nothing(void **state)
{
    static const char *const names[] = {"everything.hex", "exemplar_refs.hex",
                                        "refs_beyond_symbols.hex", "symbols_last.hex"};
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct text message = message_in("golden/write_v2", names[i]), many = {0}, t = {0};
        pra_buffer *block;
        for (int j = 0; j < 40; j++) /* so that columns grow more than once */
            text_append(&many, &message);
        assert_int_equal(pra_buffer_new(NULL, &block), PRA_OK);
        assert_int_equal(pra_snappy_compress(many.data, many.len, block, NULL), PRA_OK);
        text_bytes(&t, pra_buffer_data(block), pra_buffer_len(block));
        const char *wrong = failing_alloc_loop(decode_all, &t);
        if (wrong)
            fail_msg("%s: %s", names[i], wrong);
        pra_buffer_free(block);
        text_free(&t);
        text_free(&many);
        text_free(&message);
    }
}

/* ---- a message that Prometheus sent, where there is one */

static void a_captured_native_histogram(void **state)
{
    struct text block = text_of_file(PRA_TESTS_DIR "/../../shared/data/"
                                                   "write-v2-native-histogram.pb.snappy");
    (void)state;
    if (!block.data) {
        print_message("skipped: no captured message beside the repository\n");
        skip();
    }
    pra_write_request *req = new_request(NULL), *again = new_request(NULL);
    pra_error err = {0};
    int rc = pra_write_request_decode_snappy(req, PRA_WRITE_V2, block.data, block.len, NULL, &err);
    if (rc)
        fail_msg("%s", err.message);
    pra_columns c = columns_of(req);
    assert_true(c.histogram_count > 0 && c.label_count > 0 && c.symbols[0].len == 0);
    assert_int_equal(req->cols.col[PRA__COL_FAULTS].len, 0);
    struct text one = events_of(req), encoded = encoding_of(req, PRA_WRITE_V2);
    assert_int_equal(decode(again, &encoded), PRA_OK);
    struct text two = events_of(again);
    assert_string_equal(one.data, two.data);
    text_free(&one);
    text_free(&two);
    text_free(&encoded);
    text_free(&block);
    pra_write_request_free(req);
    pra_write_request_free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_vectors),
        cmocka_unit_test(every_truncation_is_refused_or_whole),
        cmocka_unit_test(symbols_can_be_used_as_keys),
        cmocka_unit_test(wrong_references_are_noted_where_they_occur),
        cmocka_unit_test(the_place_of_symbols_does_not_matter),
        cmocka_unit_test(more_than_65535_symbols),
        cmocka_unit_test(all_bits_of_a_value_survive),
        cmocka_unit_test(zeros_are_zeros_in_a_reused_handle),
        cmocka_unit_test(start_timestamps_are_there_if_sent),
        cmocka_unit_test(each_limit_says_how_to_raise_it),
        cmocka_unit_test(help_may_be_longer_than_labels),
        cmocka_unit_test(strings_count_as_often_as_they_are_used),
        cmocka_unit_test(bombs_stay_within_the_budget),
        cmocka_unit_test(usual_series_are_read_as_nanopb_reads_them),
        cmocka_unit_test(a_warm_handle_does_not_call_the_allocator),
        cmocka_unit_test(a_warm_handle_refuses_no_more_than_a_cold_one),
        cmocka_unit_test(running_out_of_memory_leaves_nothing),
        cmocka_unit_test(a_captured_native_histogram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

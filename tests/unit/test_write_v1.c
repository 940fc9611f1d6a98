/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/failing_alloc.h"
#include "unit/write_fixture.h"

static int decode_limited(pra_write_request *req, const struct text *t, const pra_limits *limits,
                          pra_error *err)
{
    return pra_write_request_decode(req, PRA_WRITE_V1, t->data, t->len, limits, err);
}

static int decode(pra_write_request *req, const struct text *t, pra_error *err)
{
    return decode_limited(req, t, NULL, err);
}

/* A message of one series whose contents are count times these bytes. */
static struct text series_of(const char *bytes, size_t len, size_t count)
{
    return repeated_in('\x0a', bytes, len, count);
}

static void golden_vectors(void **state)
{
    (void)state;
    check_all_golden("golden/write_v1", PRA_WRITE_V1, 20);
}

/* ---- cutting */

/* A message cut anywhere is refused, unless the cut falls between two fields of the outermost
 * message; offsets stay within the message. */
static void every_truncation_is_refused_or_whole(void **state)
{
    struct text message = message_in("golden/write_v1", "everything.hex");
    (void)state;
    /* nothing, and after each of the four fields */
    assert_int_equal(check_every_truncation(message, PRA_WRITE_V1), 5);
    text_free(&message);
}

/* ---- counts beyond 16 bits */

static void more_than_65535_elements(void **state)
{
    enum { COUNT = 70000 };
    static const char sample[] = "\x12\x0b\x09\x01\0\0\0\0\0\0\0\x10\x07";
    static const char label[] = "\x0a\x06\x0a\x01z\x12\x01y";
    pra_limits limits = {.size = sizeof(limits), .max_labels_per_series = PRA_UNLIMITED};
    pra_write_request *req = new_request(NULL);
    pra_columns c = {.size = sizeof(c)};
    (void)state;
    struct text t = series_of(sample, sizeof(sample) - 1, COUNT);
    assert_int_equal(decode(req, &t, NULL), PRA_OK);
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    assert_int_equal(c.sample_count, COUNT);
    assert_int_equal(c.sample_offsets[1], COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_true(c.timestamps_ms[i] == 7 && bits_of(&c.values[i]) == 1);
    text_free(&t);

    t = series_of(label, sizeof(label) - 1, COUNT);
    assert_int_equal(decode_limited(req, &t, &limits, NULL), PRA_OK);
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    assert_int_equal(c.label_offsets[1], COUNT);
    text_free(&t);

    struct text many = {0};
    for (size_t i = 0; i < COUNT; i++)
        text_bytes(&many, "\x0a\0", 2);
    assert_int_equal(decode(req, &many, NULL), PRA_OK);
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    assert_int_equal(c.series_count, COUNT);
    text_free(&many);
    pra_write_request_free(req);
}

static void strings_longer_than_65535_bytes(void **state)
{
    struct text value = {0}, label = {0}, series = {0}, t = {0};
    pra_write_request *req = new_request(NULL);
    pra_columns c = {.size = sizeof(c)};
    (void)state;
    for (size_t i = 0; i < 100000; i++)
        text_bytes(&value, "v", 1);
    put_field(&label, '\x0a', "a", 1);
    put_field(&label, '\x12', value.data, value.len);
    put_field(&series, '\x0a', label.data, label.len);
    put_field(&t, '\x0a', series.data, series.len);
    assert_int_equal(decode(req, &t, NULL), PRA_OK);
    assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
    assert_int_equal(c.labels[0].value.len, 100000);
    text_free(&value);
    text_free(&label);
    text_free(&series);
    text_free(&t);
    pra_write_request_free(req);
}

/* ---- NaNs and zeros [W-40] [W-42] */

static void all_bits_of_a_value_survive(void **state)
{
    static const uint64_t values[] = {PRA_STALE_NAN_BITS,           PRA_NORMAL_NAN_BITS,
                                      UINT64_C(0xfff0000000000001), UINT64_C(0x7ff0000000000000),
                                      UINT64_C(0x8000000000000000), 1};
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char sample[11] = "\x12\x09\x09";
        memcpy(sample + 3, &values[i], 8);
        struct text t = series_of(sample, sizeof(sample), 2);
        pra_write_request *req = new_request(NULL);
        pra_columns c = {.size = sizeof(c)};
        assert_int_equal(decode(req, &t, NULL), PRA_OK);
        assert_int_equal(pra_write_request_columns(req, &c), PRA_OK);
        assert_true(bits_of(&c.values[1]) == values[i]);
        assert_int_equal(pra_is_stale(&c.values[1]), i == 0);
        assert_int_equal(c.timestamps_ms[1], 0);
        text_free(&t);
        pra_write_request_free(req);
    }
}

/* A reused handle shows nothing of the message before. */
static void zeros_are_zeros_in_a_reused_handle(void **state)
{
    static const char full[] = "\x12\x0b\x09\xff\xff\xff\xff\xff\xff\xff\xff\x10\x07";
    static const char empty[] = "\x12\0\x1a\0\x22\0\x0a\0";
    pra_write_request *req = new_request(NULL);
    (void)state;
    struct text first = series_of(full, sizeof(full) - 1, 9);
    struct text second = series_of(empty, sizeof(empty) - 1, 1);
    assert_int_equal(decode(req, &first, NULL), PRA_OK);
    assert_int_equal(decode(req, &second, NULL), PRA_OK);
    struct text got = events_of(req);
    assert_string_equal(got.data, "series\n  label \"\"=\"\"\n  sample 0 0x0\n  exemplar 0 0x0\n"
                                  "  histogram 0 start=0 count=int:0 zero_count=int:0 sum=0x0 "
                                  "zero_threshold=0x0 schema=0 reset=0\n");
    text_free(&got);
    text_free(&first);
    text_free(&second);
    pra_write_request_free(req);
}

/* ---- limits */

struct limit_row {
    const char *hex;
    pra_limits limits;
    int rc;
    const char *said[4];
};

static void each_limit_says_how_to_raise_it(void **state)
{
    /* clang-format off */
    static const struct limit_row rows[] = {
        {"0a00 0a06 0a00 0a00 0a00", {.max_labels_per_series = 2}, PRA_ERR_LABEL_COUNT,
         {"series 1", "3 labels", "max_labels_per_series (2", "--limit.labels-per-series"}},
        {"0a00 0a09 0a07 0a03616161 1200", {.max_label_name_bytes = 2}, PRA_ERR_LABEL_NAME_LENGTH,
         {"series 1", "3 bytes", "max_label_name_bytes (2", "--limit.label-name-length"}},
        {"0a0a 0a08 0a0161 1203626262", {.max_label_value_bytes = 2}, PRA_ERR_LABEL_VALUE_LENGTH,
         {"series 0", "3 bytes", "max_label_value_bytes (2", "--limit.label-value-length"}},
        {"0a09 1a07 0a05 0a03616161", {.max_label_name_bytes = 2}, PRA_ERR_LABEL_NAME_LENGTH,
         {"series 0", "3 bytes", "max_label_name_bytes (2", "--limit.label-name-length"}},
        {"0a00 0a00 0a00", {.max_decoded_bytes = 5}, PRA_ERR_DECODED_TOO_LARGE,
         {"6 bytes", "max_decoded_bytes (5", "--limit.decoded-size", ""}},
        {"0a00 0a00 0a00 0a00", {.max_memory_bytes = 70}, PRA_ERR_MEMORY_BUDGET,
         {"series 0", "max_memory_bytes (70", "--limit.request-memory", ""}},
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
        assert_int_equal(err.code, rows[i].rc);
        assert_int_equal(err.http_status, pra_http_status(rows[i].rc));
        for (size_t j = 0; j < 4; j++)
            if (!strstr(err.message, rows[i].said[j]))
                fail_msg("\"%s\" does not say \"%s\"", err.message, rows[i].said[j]);
        assert_empty(req);
        /* The handle is usable, and without the limit the message is good. */
        assert_int_equal(decode(req, &t, &err), PRA_OK);
        pra_write_request_free(req);
        text_free(&t);
    }
}

static void limits_at_their_value_pass(void **state)
{
    pra_limits limits = {.size = sizeof(limits),
                         .max_labels_per_series = 2,
                         .max_label_name_bytes = 3,
                         .max_label_value_bytes = 4,
                         .max_decoded_bytes = 26};
    struct text t = text_of_hex("0a18 0a0b 0a03616161 120462626262 0a09 0a03616162 12026262");
    pra_write_request *req = new_request(NULL);
    (void)state;
    assert_int_equal(decode_limited(req, &t, &limits, NULL), PRA_OK);
    pra_write_request_free(req);
    text_free(&t);
}

static void an_unknown_version_is_not_supported(void **state)
{
    pra_write_request *req = new_request(NULL);
    pra_error err = {0};
    (void)state;
    assert_int_equal(pra_write_request_decode(req, 3, "", 0, NULL, &err), PRA_ERR_NOT_SUPPORTED);
    assert_int_equal(err.code, PRA_ERR_NOT_SUPPORTED);
    pra_write_request_free(req);
}

/* ---- bombs: messages of empty elements take no more than the budget, whatever the element */

static void bombs_stay_within_the_budget(void **state)
{
    enum { BUDGET = 8 << 20, COUNT = 1 << 20 };
    static const struct {
        const char *inner; /* repeated inside one series */
        size_t len;
    } rows[] = {
        {"\x0a\0", 2},                              /* labels */
        {"\x12\0", 2},                              /* samples */
        {"\x1a\0", 2},                              /* exemplars */
        {"\x1a\x02\x0a\0", 4},                      /* exemplars with a label */
        {"\x22\0", 2},                              /* histograms: 128 bytes for 2 */
        {"\x22\x02\x42\0", 4},                      /* spans */
        {"\x22\x0b\x62\x09\0\0\0\0\0\0\0\0\0", 13}, /* deltas: 8 bytes for 1 */
    };
    (void)state;
    for (size_t i = 0; i <= sizeof(rows) / sizeof(rows[0]); i++) {
        struct text t = {0};
        struct failing_alloc f;
        pra_write_request *req;
        pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = BUDGET};
        limits.max_labels_per_series = PRA_UNLIMITED;
        pra_error err = {0};
        if (i < sizeof(rows) / sizeof(rows[0]))
            t = series_of(rows[i].inner, rows[i].len, COUNT);
        else
            for (size_t j = 0; j < COUNT; j++)
                text_bytes(&t, "\x0a\0", 2); /* series */
        failing_alloc_init(&f);
        assert_int_equal(pra_write_request_new(&f.alloc, &req), PRA_OK);
        size_t before = f.live;
        assert_int_equal(decode_limited(req, &t, &limits, &err), PRA_ERR_MEMORY_BUDGET);
        assert_int_equal(err.http_status, 413);
        assert_true(f.peak - before <= BUDGET);
        pra_write_request_free(req);
        assert_int_equal(f.live, 0);
        assert_int_equal(f.wrong_size, 0);
        text_free(&t);
    }
}

/* The same as a snappy block: one hundredth of the size on the wire. */
static void a_compressed_bomb_stays_within_the_budget(void **state)
{
    enum { BUDGET = 8 << 20 };
    struct text t = series_of("\x22\0", 2, 1 << 20);
    struct failing_alloc f;
    pra_write_request *req;
    pra_buffer *block;
    pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = BUDGET};
    (void)state;
    failing_alloc_init(&f);
    assert_int_equal(pra_buffer_new(NULL, &block), PRA_OK);
    assert_int_equal(pra_snappy_compress(t.data, t.len, block, NULL), PRA_OK);
    assert_int_equal(pra_write_request_new(&f.alloc, &req), PRA_OK);
    size_t before = f.live;
    assert_int_equal(pra_write_request_decode_snappy(req, PRA_WRITE_V1, pra_buffer_data(block),
                                                     pra_buffer_len(block), &limits, NULL),
                     PRA_ERR_MEMORY_BUDGET);
    assert_true(f.peak - before <= BUDGET);
    pra_write_request_free(req);
    pra_buffer_free(block);
    text_free(&t);
}

/* ---- reuse */

static struct text usual_message(size_t series)
{
    struct text t = {0};
    for (size_t i = 0; i < series; i++) {
        struct text label = {0}, one = {0};
        for (int j = 0; j < 6; j++) {
            char name[32], value[32];
            text_clear(&label);
            (void)snprintf(name, sizeof(name), j ? "label_%d" : "__name__", j);
            (void)snprintf(value, sizeof(value), "value %zu", i);
            put_field(&label, '\x0a', name, strlen(name));
            put_field(&label, '\x12', value, strlen(value));
            put_field(&one, '\x0a', label.data, label.len);
        }
        put_field(&one, '\x12', "\x09\0\0\0\0\0\0\xf0\x3f\x10\xe8\x07", 12);
        put_field(&t, '\x0a', one.data, one.len);
        text_free(&label);
        text_free(&one);
    }
    return t;
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
        assert_int_equal(pra_write_request_decode_snappy(req, PRA_WRITE_V1, pra_buffer_data(block),
                                                         pra_buffer_len(block), NULL, NULL),
                         PRA_OK);
        assert_int_equal(pra_write_request_canonicalize(req, 0, NULL, NULL), 0);
        if (i > 0)
            assert_int_equal(f.calls + f.frees, calls);
        if (i == 2)
            pra_write_request_reset(req);
    }
    /* A cold handle takes little more than the message and its columns. */
    assert_true(f.peak < 4 * t.len);
    pra_write_request_free(req);
    pra_buffer_free(block);
    text_free(&t);
}

static void reset_keeps_no_more_than_retain_bytes(void **state)
{
    struct text t = usual_message(2000);
    pra_limits limits = {.size = sizeof(limits), .retain_bytes = 30000};
    pra_write_request *req = new_request(NULL);
    (void)state;
    size_t empty = pra_write_request_memory(req);
    assert_int_equal(decode_limited(req, &t, &limits, NULL), PRA_OK);
    assert_true(pra_write_request_memory(req) > empty + 30000);
    pra_write_request_reset(req);
    assert_true(pra_write_request_memory(req) <= empty + 30000);
    assert_true(pra_write_request_memory(req) > empty);
    assert_empty(req);
    pra_write_request_free(req);
    text_free(&t);
}

/* Whatever columns a reset gave back. */
static void a_trimmed_handle_decodes_as_before(void **state)
{
    struct text expected = file_in("golden/write_v1", "everything.txt");
    struct text message = message_in("golden/write_v1", "everything.hex");
    pra_write_request *req = new_request(NULL);
    (void)state;
    for (size_t retain = 1; retain < 6000; retain += 40) {
        pra_limits limits = {.size = sizeof(limits), .retain_bytes = retain};
        assert_int_equal(decode_limited(req, &message, &limits, NULL), PRA_OK);
        struct text got = events_of(req);
        assert_string_equal(got.data, expected.data);
        text_free(&got);
    }
    pra_write_request_free(req);
    text_free(&message);
    text_free(&expected);
}

/* What a handle holds from a message of another shape does not count against this one. */
static void a_warm_handle_refuses_no_more_than_a_cold_one(void **state)
{
    struct text labels = series_of("\x0a\0", 2, 100000);
    struct text samples = series_of("\x12\0", 2, 100000);
    pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = 3 << 20};
    limits.max_labels_per_series = PRA_UNLIMITED;
    pra_write_request *req = new_request(NULL);
    pra_error err = {0};
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(decode_limited(req, &labels, &limits, &err), PRA_OK);
        assert_int_equal(decode_limited(req, &samples, &limits, &err), PRA_OK);
        assert_int_equal(err.code, PRA_OK);
        assert_true(pra_write_request_memory(req) < (3 << 20));
    }
    pra_write_request_free(req);
    text_free(&labels);
    text_free(&samples);
}

/* ---- memory running out */

static int decode_all(struct failing_alloc *f, void *arg)
{
    const struct text *t = arg;
    pra_write_request *req = NULL;
    pra_buffer *out = NULL;
    int rc = pra_write_request_new(&f->alloc, &req);
    if (rc)
        return rc;
    rc = pra_write_request_decode_snappy(req, PRA_WRITE_V1, t->data, t->len, NULL, NULL);
    if (rc)
        assert_empty(req);
    if (rc == PRA_OK)
        rc = pra_buffer_new(&f->alloc, &out);
    if (rc == PRA_OK)
        rc = pra_write_request_encode(req, PRA_WRITE_V1, out, NULL);
    pra_buffer_free(out);
    pra_write_request_free(req);
    return rc;
}

static void running_out_of_memory_leaves_nothing(void **state)
{
    struct text message = message_in("golden/write_v1", "everything.hex");
    pra_buffer *block;
    (void)state;
    struct text many = {0};
    for (int i = 0; i < 40; i++) /* so that columns grow more than once */
        text_append(&many, &message);
    assert_int_equal(pra_buffer_new(NULL, &block), PRA_OK);
    assert_int_equal(pra_snappy_compress(many.data, many.len, block, NULL), PRA_OK);
    struct text t = {0};
    text_bytes(&t, pra_buffer_data(block), pra_buffer_len(block));
    const char *wrong = failing_alloc_loop(decode_all, &t);
    if (wrong)
        fail_msg("%s", wrong);
    pra_buffer_free(block);
    text_free(&t);
    text_free(&many);
    text_free(&message);
}

/* ---- arguments */

static void wrong_arguments_are_refused(void **state)
{
    pra_write_request *req = new_request(NULL);
    pra_limits newer[2];
    pra_error err = {0};
    (void)state;
    memset(newer, 0, sizeof(newer));
    newer[0].size = sizeof(newer);
    newer[1].retain_bytes = 1;
    assert_int_equal(pra_write_request_decode(NULL, PRA_WRITE_V1, "", 0, NULL, &err),
                     PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_write_request_decode(req, PRA_WRITE_V1, NULL, 1, NULL, &err),
                     PRA_ERR_INVALID_ARG);
    assert_int_equal(pra_write_request_decode(req, PRA_WRITE_V1, "", 0, newer, &err),
                     PRA_ERR_UNSUPPORTED_OPTION);
    assert_int_equal(pra_write_request_decode(req, PRA_WRITE_V1, NULL, 0, NULL, &err), PRA_OK);
    pra_write_request_free(req);
    pra_write_request_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_vectors),
        cmocka_unit_test(every_truncation_is_refused_or_whole),
        cmocka_unit_test(more_than_65535_elements),
        cmocka_unit_test(strings_longer_than_65535_bytes),
        cmocka_unit_test(all_bits_of_a_value_survive),
        cmocka_unit_test(zeros_are_zeros_in_a_reused_handle),
        cmocka_unit_test(each_limit_says_how_to_raise_it),
        cmocka_unit_test(limits_at_their_value_pass),
        cmocka_unit_test(an_unknown_version_is_not_supported),
        cmocka_unit_test(bombs_stay_within_the_budget),
        cmocka_unit_test(a_compressed_bomb_stays_within_the_budget),
        cmocka_unit_test(a_warm_handle_does_not_call_the_allocator),
        cmocka_unit_test(reset_keeps_no_more_than_retain_bytes),
        cmocka_unit_test(a_trimmed_handle_decodes_as_before),
        cmocka_unit_test(a_warm_handle_refuses_no_more_than_a_cold_one),
        cmocka_unit_test(running_out_of_memory_leaves_nothing),
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "message/chunk_xor.h"
#include "message/stream_frame.h"
#include "support/text.h"
#include "wire/crc32c.h"
#include "wire/frame.h"

/* Bit by bit, from the definition. */
static uint32_t crc_by_bits(const uint8_t *p, size_t len)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82F63B78) : 0);
    }
    return ~crc;
}

static void test_crc(void **state)
{
    (void)state;
    uint8_t data[300];
    uint64_t random = 1;
    assert_int_equal(pra__crc32c("123456789", 9), 0xE3069283);
    assert_int_equal(pra__crc32c_portable("123456789", 9), 0xE3069283);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)random_next(&random);
    for (size_t start = 0; start < 9; start++)
        for (size_t len = 0; len + start <= sizeof(data); len++) {
            uint32_t expected = crc_by_bits(data + start, len);
            assert_int_equal(pra__crc32c(data + start, len), expected);
            assert_int_equal(pra__crc32c_portable(data + start, len), expected);
        }
}

/* */
static void test_head(void **state)
{
    (void)state;
    uint8_t head[PRA__FRAME_HEAD_MOST];
    size_t size = (size_t)(pra__frame_head(head, "test1", 5) - head);
    struct text expected = text_of_hex("05 53fe1f55");
    assert_int_equal(size, pra__frame_head_size(5));
    assert_int_equal(size, expected.len);
    assert_memory_equal(head, expected.data, size);
    text_free(&expected);
}

static void test_reads_heads(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        int code;
        uint64_t len;
    } rows[] = {
        {"", PRA_DONE, 0},
        {"05", PRA_DONE, 0},
        {"05 53fe1f", PRA_DONE, 0},
        {"05 53fe1f55", PRA_OK, 5},
        {"8500 53fe1f55", PRA_OK, 5},
        {"85", PRA_DONE, 0},
        {"00", PRA_ERR_FRAME, 0},
        {"8080808080808000 00000000", PRA_ERR_FRAME, 0},
        {"ffffffffffffffffff01 53fe1f55", PRA_OK, UINT64_MAX},
        {"ffffffffffffffffff", PRA_DONE, 0},
        {"ffffffffffffffffff02", PRA_ERR_FRAME, 0},
        {"80808080808080808080", PRA_ERR_FRAME, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text t = text_of_hex(rows[i].hex);
        size_t head = 0;
        uint64_t len = 0;
        uint32_t crc = 0;
        int rc = pra__frame_read_head((const uint8_t *)t.data, t.len, &head, &len, &crc);
        assert_int_equal(rc, rows[i].code);
        if (rc == PRA_OK) {
            assert_int_equal(head, t.len);
            assert_int_equal(len, rows[i].len);
            assert_int_equal(crc, 0x53fe1f55);
        }
        text_free(&t);
    }
}

/* ---- frames of series */

/* {a="b"}, 6 bytes without key and length */
#define LABELS "0a06 0a0161 120162"
#define CHUNK "120b 0801 1002 1801 220378797a" /* 11 bytes without key and length */
#define FRAME_OF_ONE "1737f9e0e5 0a15 " LABELS CHUNK
#define FRAME_OF_TWO "24f0871d9a 0a22 " LABELS CHUNK CHUNK
#define FRAME_OF_QUERY_3 "1918b3cc10 0a15 " LABELS CHUNK "1003"

static void check_frames(uint64_t max_bytes, int64_t index, size_t chunks, const char *hex)
{
    struct text labels = text_of_hex(LABELS), expected = text_of_hex(hex);
    struct pra__stream_frames f;
    pra_buffer *out;
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    assert_int_equal(pra_buffer_append(out, "before", 6), PRA_OK);
    pra__stream_frames_begin(&f, out, index, max_bytes, (const uint8_t *)labels.data, labels.len);
    for (size_t i = 0; i < chunks; i++)
        assert_true(pra__stream_frames_chunk(&f, PRA_CHUNK_XOR, 1, 2, "xyz", 3) >= 0);
    pra__stream_frames_end(&f);
    pra__stream_frames_end(&f);
    assert_int_equal(out->len, expected.len + 6);
    assert_memory_equal(out->data, "before", 6);
    if (expected.len)
        assert_memory_equal(out->data + 6, expected.data, expected.len);
    text_free(&labels);
    text_free(&expected);
    pra_buffer_free(out);
}

static void test_frames(void **state)
{
    (void)state;
    check_frames(1000, 0, 0, "");
    /* one frame of both chunks */
    check_frames(1000, 0, 2, FRAME_OF_TWO);
    check_frames(18, 0, 2, FRAME_OF_TWO);
    /* the budget is gone with the first one */
    check_frames(17, 0, 2, FRAME_OF_ONE FRAME_OF_ONE);
    check_frames(1, 0, 2, FRAME_OF_ONE FRAME_OF_ONE);
    check_frames(PRA_UNLIMITED, 3, 1, FRAME_OF_QUERY_3);
}

/* ---- whole answers as Prometheus streams them */

static uint8_t *put_string(uint8_t *p, uint8_t key, const char *cstr)
{
    size_t len = strlen(cstr);
    *p++ = key;
    *p++ = (uint8_t)len;
    memcpy(p, cstr, len);
    return p + len;
}

/* {__name__="metric<series>", instance="a"}: 17 and 13 bytes. */
static size_t put_labels(uint8_t *out, char series)
{
    char name[] = "metric0";
    uint8_t *p = out;
    name[6] = (char)(name[6] + series);
    memcpy(p, "\x0A\x13", 2);
    p = put_string(p + 2, 0x0A, "__name__");
    p = put_string(p, 0x12, name);
    memcpy(p, "\x0A\x0D", 2);
    p = put_string(p + 2, 0x0A, "instance");
    p = put_string(p, 0x12, "a");
    return (size_t)(p - out);
}

static void put_series(pra_buffer *out, int64_t query, uint64_t most, char series, size_t count)
{
    uint8_t labels[64];
    struct pra__stream_frames f;
    struct pra__xor_chunk chunk;
    pra__stream_frames_begin(&f, out, query, most, labels, put_labels(labels, series));
    pra__xor_chunk_begin(&chunk);
    for (size_t i = 0; i < count;) {
        int64_t t = (int64_t)i * 60000;
        double v = 100 * (double)i;
        size_t taken = pra__xor_chunk_append(&chunk, &t, &v, 1);
        i += taken;
        if (taken && i < count)
            continue;
        size_t len = pra__xor_chunk_end(&chunk);
        assert_true(pra__stream_frames_chunk(&f, PRA_CHUNK_XOR, chunk.min_ms, chunk.max_ms,
                                             chunk.data, len) >= 0);
        pra__xor_chunk_begin(&chunk);
    }
    pra__stream_frames_end(&f);
}

/* One line: the most bytes of a frame, the query, numbers of samples, the stream. */
static void check_line(char *line)
{
    char *p;
    pra_buffer *out;
    uint64_t most = strtoull(line, &p, 10);
    int64_t query = strtoll(p, &p, 10);
    assert_int_equal(pra_buffer_new(NULL, &out), PRA_OK);
    for (char series = 0; series == 0 || *p == ','; series++)
        put_series(out, query, most, series, strtoul(p + (*p == ','), &p, 10));
    struct text expected = text_of_hex(p);
    if (out->len != expected.len || memcmp(out->data, expected.data, out->len) != 0)
        fail_msg("another stream: %.60s", line);
    text_free(&expected);
    pra_buffer_free(out);
}

static void test_streams_as_prometheus(void **state)
{
    (void)state;
    struct text t = text_of_file(PRA_TESTS_DIR "/golden/chunks/frames.txt");
    size_t count = 0;
    assert_non_null(t.data);
    for (char *line = t.data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, count++) {
        *end = '\0';
        check_line(line);
    }
    assert_true(count > 15);
    text_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_reads_heads),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_streams_as_prometheus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

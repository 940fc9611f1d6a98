/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/text.h"
#include "wire/tlv.h"

static struct pra__reader reader_of(const struct text *t)
{
    return (struct pra__reader){(const uint8_t *)t->data, (const uint8_t *)t->data + t->len, NULL};
}

struct varint_row {
    const char *hex;
    int rc;
    uint64_t value;
};

static void varints_as_go_reads_them(void **state)
{
    static const struct varint_row rows[] = {
        {"00", PRA_OK, 0},
        {"7f", PRA_OK, 127},
        {"8001", PRA_OK, 128},
        {"ff7f", PRA_OK, 16383},
        {"808001", PRA_OK, 16384},
        {"8000", PRA_OK, 0},                          /* longer than need be */
        {"80808080808080808000", PRA_OK, 0},          /* 10 bytes */
        {"ffffffffffffffffff01", PRA_OK, UINT64_MAX}, /* the largest */
        {"ffffffffffffffffff7f", PRA_OK, UINT64_MAX}, /* bits above the 64th are dropped */
        {"80808080808080808002", PRA_OK, 0},          /* likewise */
        {"8080808080808080808000", PRA_ERR_PROTO, 0}, /* 11 bytes */
        {"ffffffffffffffffffff01", PRA_ERR_PROTO, 0},
        {"", PRA_ERR_PROTO, 0},
        {"80", PRA_ERR_PROTO, 0},
        {"ffffffffffffffffff", PRA_ERR_PROTO, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text t = text_of_hex(rows[i].hex);
        struct pra__reader r = reader_of(&t);
        uint64_t v = 0;
        assert_int_equal(pra__read_varint(&r, &v), rows[i].rc);
        assert_true(v == rows[i].value);
        if (rows[i].rc == PRA_OK)
            assert_ptr_equal(r.pos, r.end);
        else
            assert_non_null(r.why);
        text_free(&t);
    }
}

static void fields_that_go_refuses(void **state)
{
    static const char *const refused[] = {
        "00",                   /* number 0 */
        "0700",                 /* number 0, wire type 7 */
        "0c",                   /* end of a group that was not begun */
        "8080808040",           /* number 2^31: negative as int32 */
        "f8ffffffffffffffff01", /* number -1 */
        "80",                   /* cut */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct text t = text_of_hex(refused[i]);
        struct pra__reader r = reader_of(&t);
        struct pra__field field = {0};
        assert_int_equal(pra__read_field(&r, &field), PRA_ERR_PROTO);
        text_free(&t);
    }
}

static void field_numbers_are_cut_to_32_bits(void **state)
{
    struct text t =
        text_of_hex("8a8080808001"); /* (2^32 + 1) << 3 | 2: Go's int32(wire >> 3) is 1 */
    struct pra__reader r = reader_of(&t);
    struct pra__field field = {0};
    (void)state;
    assert_int_equal(pra__read_field(&r, &field), PRA_OK);
    assert_int_equal(field.number, 1);
    assert_int_equal(field.wire, PRA__WIRE_BYTES);
    text_free(&t);
}

struct skip_row {
    const char *hex; /* a whole field and one byte more */
    int rc;
};

static void unknown_fields_are_skipped(void **state)
{
    static const struct skip_row rows[] = {
        {"a006 ffffffffffffffffff7f aa", PRA_OK}, /* varint */
        {"a106 0102030405060708 aa", PRA_OK},     /* fixed64 */
        {"a206 03 010203 aa", PRA_OK},            /* bytes */
        {"a506 01020304 aa", PRA_OK},             /* fixed32 */
        {"a306 a406 aa", PRA_OK},                 /* empty group */
        {"a306 0801 120161 a406 aa", PRA_OK},     /* group with fields */
        {"a306 a306 a306 a406 a406 a406 aa", PRA_OK},
        {"a306 0001 a406 aa", PRA_OK},                  /* number 0 inside a group */
        {"a306 14 aa", PRA_OK},                         /* closed by another number */
        {"a006 ffffffffffffffffffff01", PRA_ERR_PROTO}, /* 11 bytes */
        {"a106 01020304050607", PRA_ERR_PROTO},         /* cut */
        {"a206 04 010203", PRA_ERR_PROTO},
        {"a206 ffffffffffffffffff01", PRA_ERR_PROTO}, /* negative length */
        {"a506 010203", PRA_ERR_PROTO},
        {"a306 0801", PRA_ERR_PROTO},    /* group not closed */
        {"a606 00", PRA_ERR_PROTO},      /* wire type 6 */
        {"a706 00", PRA_ERR_PROTO},      /* wire type 7 */
        {"a306 0e a406", PRA_ERR_PROTO}, /* wire type 6 inside a group */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text t = text_of_hex(rows[i].hex);
        struct pra__reader r = reader_of(&t);
        struct pra__field field = {0};
        assert_int_equal(pra__read_field(&r, &field), PRA_OK);
        assert_int_equal(pra__skip_field(&r, field.wire), rows[i].rc);
        if (rows[i].rc == PRA_OK)
            assert_int_equal(r.end - r.pos, 1);
        text_free(&t);
    }
}

static void deep_groups_take_no_stack(void **state)
{
    enum { DEPTH = 1 << 20 };
    struct text t = {0};
    struct pra__field field = {0};
    (void)state;
    for (size_t i = 0; i < DEPTH; i++)
        text_bytes(&t, "\xa3\x06", 2);
    for (size_t i = 0; i < DEPTH; i++)
        text_bytes(&t, "\xa4\x06", 2);
    struct pra__reader r = reader_of(&t);
    assert_int_equal(pra__read_field(&r, &field), PRA_OK);
    assert_int_equal(pra__skip_field(&r, field.wire), PRA_OK);
    assert_ptr_equal(r.pos, r.end);
    text_free(&t);
}

static void known_fields_insist_on_their_wire_type(void **state)
{
    struct text t = text_of_hex("01 02030405060708 09");
    (void)state;
    for (uint32_t wire = 0; wire < 8; wire++) {
        struct pra__reader r = reader_of(&t);
        uint64_t v;
        double d;
        const uint8_t *p;
        size_t len;
        assert_int_equal(pra__read_u64(&r, wire, &v), wire == 0 ? PRA_OK : PRA_ERR_PROTO);
        r = reader_of(&t);
        assert_int_equal(pra__read_fixed64(&r, wire, &d), wire == 1 ? PRA_OK : PRA_ERR_PROTO);
        r = reader_of(&t);
        assert_int_equal(pra__read_bytes(&r, wire, &p, &len), wire == 2 ? PRA_OK : PRA_ERR_PROTO);
    }
    text_free(&t);
}

static void zigzag_cuts_before_it_undoes_the_sign(void **state)
{
    (void)state;
    assert_int_equal(pra__unzigzag32(1), -1);
    assert_int_equal(pra__unzigzag32(UINT32_MAX), INT32_MIN);
    assert_int_equal(pra__unzigzag32(UINT64_C(0x100000003)), -2);
    assert_true(pra__unzigzag64(UINT64_MAX) == INT64_MIN);
    for (int shift = 0; shift < 64; shift++) {
        int64_t v = (int64_t)(UINT64_C(0xdeadbeefcafef00d) >> shift);
        assert_true(pra__unzigzag64(pra__zigzag64(v)) == v);
        assert_true(pra__unzigzag64(pra__zigzag64(-v)) == -v);
        assert_int_equal(pra__unzigzag32(pra__zigzag32((int32_t)v)), (int32_t)v);
    }
}

static void sizes_are_what_is_written(void **state)
{
    uint8_t bytes[16];
    (void)state;
    for (int bit = 0; bit < 64; bit++)
        for (int below = 0; below < 2; below++) {
            uint64_t v = (UINT64_C(1) << bit) - (uint64_t)below, back = 0;
            uint8_t *end = pra__put_varint(bytes, v);
            assert_int_equal(end - bytes, pra__varint_size(v));
            struct pra__reader r = {bytes, end, NULL};
            assert_int_equal(pra__read_varint(&r, &back), PRA_OK);
            assert_true(back == v);
        }
}

static void only_all_zero_bits_are_left_out(void **state)
{
    const double zero = 0.0, minus = -0.0;
    uint8_t bytes[16];
    (void)state;
    assert_int_equal(pra__double_field_size(1, &zero), 0);
    assert_ptr_equal(pra__put_double_field(bytes, 1, &zero), bytes);
    assert_int_equal(pra__double_field_size(1, &minus), 9);
    assert_ptr_equal(pra__put_double_field(bytes, 1, &minus), bytes + 9);
    assert_memory_equal(bytes, "\x09\0\0\0\0\0\0\0\x80", 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(varints_as_go_reads_them),
        cmocka_unit_test(fields_that_go_refuses),
        cmocka_unit_test(field_numbers_are_cut_to_32_bits),
        cmocka_unit_test(unknown_fields_are_skipped),
        cmocka_unit_test(deep_groups_take_no_stack),
        cmocka_unit_test(known_fields_insist_on_their_wire_type),
        cmocka_unit_test(zigzag_cuts_before_it_undoes_the_sign),
        cmocka_unit_test(sizes_are_what_is_written),
        cmocka_unit_test(only_all_zero_bits_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

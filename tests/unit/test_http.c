/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "remote/http.h"

static pra_str str(const char *cstr)
{
    return (pra_str){cstr, strlen(cstr)};
}

static void W03_W04_W05_content_type_names_the_message(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int32_t version;
    } rows[] = {
        {"", PRA_WRITE_V1},
        {"application/x-protobuf", PRA_WRITE_V1},
        {"Application/X-Protobuf", PRA_WRITE_V1},
        {" application/x-protobuf\t", PRA_WRITE_V1},
        {"application/x-protobuf;proto=prometheus.WriteRequest", PRA_WRITE_V1},
        {"application/x-protobuf ; proto=prometheus.WriteRequest", PRA_WRITE_V1},
        {"application/x-protobuf;;", PRA_WRITE_V1},
        {"application/x-protobuf; charset=utf-8", PRA_WRITE_V1},
        {"application/x-protobuf; x=\"a;proto=b\"", PRA_WRITE_V1},
        {"application/x-protobuf;proto=io.prometheus.write.v2.Request", PRA_WRITE_V2},
        {"application/x-protobuf; proto=io.prometheus.write.v2.Request", PRA_WRITE_V2},
        {"application/x-protobuf;PROTO=\"io.prometheus.write.v2.\\Request\"", PRA_WRITE_V2},
        {"application/x-protobuf;proto=io.prometheus.write.v2.request", PRA_ERR_CONTENT_TYPE},
        {"application/x-protobuf;proto=", PRA_ERR_CONTENT_TYPE},
        {"application/x-protobuf;proto", PRA_ERR_CONTENT_TYPE},
        {"application/x-protobuf;proto =x", PRA_ERR_CONTENT_TYPE},
        {"application/x-protobuf;proto=\"prometheus.WriteRequest", PRA_ERR_CONTENT_TYPE},
        {"application/x-protobuf;proto=\"\\", PRA_ERR_CONTENT_TYPE},
        {"application/x-protobuf;proto=prometheus.WriteRequest;proto=prometheus.WriteRequest",
         PRA_ERR_CONTENT_TYPE},
        {"application/x-protobuf prometheus", PRA_ERR_CONTENT_TYPE},
        {"application/x-protobuf, application/json", PRA_ERR_CONTENT_TYPE},
        {"application/vnd.google.protobuf", PRA_ERR_CONTENT_TYPE},
        {"application/json", PRA_ERR_CONTENT_TYPE},
        {"application", PRA_ERR_CONTENT_TYPE},
        {"application/", PRA_ERR_CONTENT_TYPE},
        {"/x-protobuf", PRA_ERR_CONTENT_TYPE},
        {";", PRA_ERR_CONTENT_TYPE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (pra__content_type_version(str(rows[i].value)) != rows[i].version)
            fail_msg("%s", rows[i].value);
}

static void a_quoted_parameter_longer_than_any_known_is_refused(void **state)
{
    (void)state;
    char value[256] = "application/x-protobuf;proto=\"";
    memset(value + 30, 'a', 200);
    value[230] = '"';
    assert_int_equal(pra__content_type_version(str(value)), PRA_ERR_CONTENT_TYPE);
}

static void W01_the_last_segment_of_any_path_is_the_endpoint(void **state)
{
    (void)state;
    assert_int_equal(pra__endpoint_of(str("/api/v1/write")), PRA_ENDPOINT_WRITE);
    assert_int_equal(pra__endpoint_of(str("/write")), PRA_ENDPOINT_WRITE);
    assert_int_equal(pra__endpoint_of(str("write")), PRA_ENDPOINT_WRITE);
    assert_int_equal(pra__endpoint_of(str("/api/v1/receive")), PRA_ENDPOINT_WRITE);
    assert_int_equal(pra__endpoint_of(str("/tenant/7/read")), PRA_ENDPOINT_READ);
    assert_int_equal(pra__endpoint_of(str("/write/")), PRA_ENDPOINT_AUTO);
    assert_int_equal(pra__endpoint_of(str("/rewrite")), PRA_ENDPOINT_AUTO);
    assert_int_equal(pra__endpoint_of(str("/")), PRA_ENDPOINT_AUTO);
    assert_int_equal(pra__endpoint_of((pra_str){NULL, 0}), PRA_ENDPOINT_AUTO);
}

static void target_splits_at_the_first_question_mark(void **state)
{
    (void)state;
    pra_str path;
    pra_str query;
    pra__split_target(str("/write?a=b?c"), &path, &query);
    assert_int_equal(path.len, 6);
    assert_int_equal(query.len, 5);
    assert_memory_equal(query.ptr, "a=b?c", 5);
    pra__split_target(str("/write"), &path, &query);
    assert_int_equal(query.len, 0);
    pra__split_target((pra_str){NULL, 0}, &path, &query);
    assert_int_equal(path.len, 0);
}

static void numbers_are_strict_decimals(void **state)
{
    (void)state;
    uint64_t n = 7;
    assert_int_equal(pra__parse_u64(str("18446744073709551615"), &n), 1);
    assert_true(n == UINT64_MAX);
    assert_int_equal(pra__parse_u64(str("18446744073709551616"), &n), 0);
    assert_int_equal(pra__parse_u64(str("99999999999999999999"), &n), 0);
    assert_int_equal(pra__parse_u64(str("000000000000000000001"), &n), 0);
    assert_int_equal(pra__parse_u64(str(""), &n), 0);
    assert_int_equal(pra__parse_u64(str("+1"), &n), 0);
    assert_int_equal(pra__parse_u64(str("1 "), &n), 0);
    assert_int_equal(pra__parse_u64(str("0"), &n), 1);
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(W03_W04_W05_content_type_names_the_message),
        cmocka_unit_test(a_quoted_parameter_longer_than_any_known_is_refused),
        cmocka_unit_test(W01_the_last_segment_of_any_path_is_the_endpoint),
        cmocka_unit_test(target_splits_at_the_first_question_mark),
        cmocka_unit_test(numbers_are_strict_decimals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

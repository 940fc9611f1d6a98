/* SPDX-License-Identifier: Apache-2.0 */
/* The file of --web.config.file: what is understood, and what is said of what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/web_config.h"

#define HASH "$2y$10$abcdefghijklmnopqrstuuqflPDzB6gcMhKa1rZqKiun2YGL5sa2u"
#define TLS "tls_server_config: {cert_file: a.crt, key_file: a.key"

struct parsed {
    pra_arena *arena;
    pra__web_config config;
    pra_error err;
    int rc;
};

static void parse_bytes(struct parsed *p, const char *text, size_t len)
{
    memset(p, 0, sizeof(*p));
    assert_int_equal(pra_arena_new(NULL, 1 << 20, &p->arena), PRA_OK);
    p->rc =
        pra__web_config_parse((pra_str){text, len}, "etc/web.yml", p->arena, &p->config, &p->err);
    assert_int_equal(p->rc, p->err.code);
}

static void parse(struct parsed *p, const char *text)
{
    parse_bytes(p, text, strlen(text));
}

static void test_good(void **state)
{
    (void)state;
    static const char *const good[] = {
        "",
        "\n# nothing\n",
        "~",
        "{}",
        "tls_server_config:\nbasic_auth_users:\nhttp_server_config:\nrate_limit:\n",
        "tls_server_config: {}",
        "tls_server_config: {min_version: TLS13}",
        TLS "}",
        TLS ", prefer_server_cipher_suites: off}",
        TLS ", client_auth_type: \"\"}",
        TLS ", client_auth_type: RequestClientCert}",
        TLS ", client_auth_type: RequireClientCert, client_allowed_sans: [a, b]}",
        TLS ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: /ca}",
        TLS ", min_version: TLS10, max_version: TLS11}",
        TLS ", cipher_suites: [], curve_preferences: []}",
        TLS ", cipher_suites: [TLS_AES_128_GCM_SHA256]}",
        "tls_server_config: {cert: c, key: k}",
        "rate_limit: {interval: 0, burst: 0}",
        "rate_limit: {interval: 1s, burst: 1}",
        "basic_auth_users: {}",
        "basic_auth_users: {\"\": " HASH "}",
        "basic_auth_users: {a: " HASH ", b: " HASH "}",
        "http_server_config: {http2: false, headers: {}}",
        "http_server_config: {headers: {X-Frame-Options: deny, X-XSS-Protection: 1}}",
        "---\nhttp_server_config: &a\n  http2: true\n",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct parsed p;
        parse(&p, good[i]);
        if (p.rc)
            fail_msg("%s\n%s", good[i], p.err.message);
        pra_arena_free(p.arena);
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says; /* begins with; the line, mostly */
        const char *names;
    } bad[] = {
        {"hWkNKCp3fvIx3jKnsaBI\nTuEjdwNS8A2vYdFbiKqr\n", "web.yml:1: ", "must be a mapping"},
        {"- a", "web.yml:1: ", "must be a mapping"},
        {"\n\na: [", "web.yml:", "not YAML"},
        {"\ta: b", "web.yml:1: ", "not YAML"},
        {"a: \"\\q\"", "web.yml:1: ", "not YAML"},
        {"a: *b", "web.yml:1: ", "not YAML"},
        {"a: \xff", "web.yml:1: ", "not YAML"},
        {"tls_config:\n", "web.yml:1: ",
         "unknown field \"tls_config\" in the file; did you mean "
         "\"tls_server_config\"?"},
        {"zzz: 1", "web.yml:1: ", "unknown field \"zzz\" in the file: remove it"},
        {"<<: {}", "web.yml:1: ", "unknown field"},
        {"? [a]\n: b\n", "web.yml:1: ", "must be one value"},
        {"tls_server_config:\n  cert_filse: \"server.crt\"\n", "web.yml:2: ", "\"cert_file\"?"},
        {"tls_server_config:\n  cert_file: a\n  cert_file: b\n", "web.yml:3: ", "twice"},
        {"tls_server_config:\n  cert_file: [a]\n", "web.yml:2: ", "must be one value"},
        {"tls_server_config:\n  cert_file: \"a\\0b\"\n", "web.yml:2: ", "NUL"},
        {"tls_server_config: 1", "web.yml:1: ", "must be a mapping"},
        {"\ntls_server_config: {cert_file: a}\n", "web.yml:2: ", "add key_file"},
        {"tls_server_config: {key_file: a}", "web.yml:1: ", "add cert_file"},
        {"tls_server_config: {cert_file: \"\", key: a}", "web.yml:1: ", "add cert_file"},
        {"tls_server_config: {client_auth_type: RequestClientCert}", "web.yml:1: ", "cert_file"},
        {TLS ", client_ca_file: ca}", "web.yml:1: ", "RequireAndVerifyClientCert"},
        {TLS ", client_ca: ca, client_auth_type: NoClientCert}", "web.yml:1: ", "add client_auth"},
        {TLS ", client_auth_type: VerifyClientCertIfGiven}", "web.yml:1: ", "add client_ca_file"},
        {TLS ", client_auth_type: RequireAndVerifyClientCert}", "web.yml:1: ", "client_ca_file"},
        {TLS ", client_allowed_sans: [a]}", "web.yml:1: ", "needs client certificates"},
        {TLS ", client_allowed_sans: a}", "web.yml:1: ", "must be a list"},
        {TLS ", client_auth_type: Require}", "web.yml:1: ", "RequireAnyClientCert"},
        {TLS ", min_version: TLS1}", "web.yml:1: ", "TLS10, TLS11, TLS12, TLS13"},
        {TLS ", min_version: TLS13, max_version: TLS12}", "web.yml:1: ", "above"},
        {TLS ", min_version: TLS14}", "web.yml:1: ", "unknown min_version"},
        {TLS ",\n cipher_suites: [a,\n b]}", "web.yml:2: ", "unknown cipher \"a\""},
        {TLS ", cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]}", "web.yml:1: ", "unknown cipher"},
        {TLS ", cipher_suites: a}", "web.yml:1: ", "must be a list"},
        {TLS ", curve_preferences: [P256]}", "web.yml:1: ", "CurveP256, CurveP384"},
        {TLS ", prefer_server_cipher_suites: 1}", "web.yml:1: ", "true or false"},
        {"http_server_config: {http3: true}", "web.yml:1: ", "did you mean \"http2\"?"},
        {"http_server_config: {http2: maybe}", "web.yml:1: ", "true or false"},
        {"http_server_config:\n  headers:\n    Server: x\n", "web.yml:3: ", "unknown header"},
        {"http_server_config: {headers: {X-Frame-Options: x}}", "web.yml:1: ", "sameorigin"},
        {"http_server_config: {headers: {X-Content-Type-Options: x}}", "web.yml:1: ", "nosniff"},
        {"http_server_config: {headers: {X-XSS-Protection: \"1\\r\\na: b\"}}",
         "web.yml:1: ", "control character"},
        {"http_server_config: {headers: {X-XSS-Protection: 1, X-XSS-Protection: 1}}",
         "web.yml:1: ", "twice"},
        {"basic_auth_users: [a]", "web.yml:1: ", "must be a mapping"},
        {"basic_auth_users:\n  a: secret\n", "web.yml:2: ", "htpasswd"},
        {"basic_auth_users: {a: $1$abcdefgh$abcdefghijklmnopqrstuv}", "web.yml:1: ", "bcrypt"},
        {"basic_auth_users: {a: " HASH "a}", "web.yml:1: ", "bcrypt"},
        {"basic_auth_users: {a: $2x$10$abcdefghijklmnopqrstuuqflPDzB6gcMhKa1rZqKiun2YGL5sa2u}",
         "web.yml:1: ", "bcrypt"},
        {"basic_auth_users: {a: $2y$32$abcdefghijklmnopqrstuuqflPDzB6gcMhKa1rZqKiun2YGL5sa2u}",
         "web.yml:1: ", "bcrypt"},
        {"basic_auth_users: {a: $2y$1a$abcdefghijklmnopqrstuuqflPDzB6gcMhKa1rZqKiun2YGL5sa2u}",
         "web.yml:1: ", "bcrypt"},
        {"basic_auth_users: {a: }", "web.yml:1: ", "bcrypt"},
        {"basic_auth_users: {\"a:b\": " HASH "}", "web.yml:1: ", "colon"},
        {"basic_auth_users:\n  a: " HASH "\n  a: " HASH "\n", "web.yml:3: ", "twice"},
        {"rate_limit: {interval: 1}", "web.yml:1: ", "at least 1"},
        {"rate_limit: {interval: 1s, burst: 0}", "web.yml:1: ", "at least 1"},
        {"rate_limit: {interval: 1 s, burst: 1}", "web.yml:1: ", "a duration such as"},
        {"rate_limit: {interval: s, burst: 1}", "web.yml:1: ", "a duration such as"},
        {"rate_limit: {interval: -1s, burst: 1}", "web.yml:1: ", "a duration such as"},
        {"rate_limit: {interval: \"\", burst: 1}", "web.yml:1: ", "a duration such as"},
        {"rate_limit: {burst: -1}", "web.yml:1: ", "a number"},
        {"rate_limit: {burst: 1.5}", "web.yml:1: ", "a number"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct parsed p;
        parse(&p, bad[i].text);
        if (p.rc != PRA_ERR_INVALID_ARG ||
            strncmp(p.err.message, bad[i].says, strlen(bad[i].says)) ||
            !strstr(p.err.message, bad[i].names) || strstr(p.err.message, HASH))
            fail_msg("%s\n%d %s", bad[i].text, p.rc, p.err.message);
        pra_arena_free(p.arena);
    }
}

/* What takes libyaml minutes is refused at once: each text is of 1 MiB. */
static void test_dear_shapes(void **state)
{
    enum { BYTES = 1 << 20 };
    static const struct {
        const char *unit, *says;
    } rows[] = {{"[", "nested too deeply"},  {"{", "nested too deeply"},
                {"- ", "nested too deeply"}, {"? ", "nested too deeply"},
                {"- &a\n", "too many"},      {"- &a x\n", "too many"},
                {"- &a []\n", "too many"},   {"- &a {}\n", "too many"}};
    (void)state;
    char *text = malloc(BYTES + 1);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct parsed p;
        size_t len = 0, unit = strlen(rows[i].unit);
        for (; len + unit <= BYTES; len += unit)
            memcpy(text + len, rows[i].unit, unit);
        text[len] = 0;
        parse(&p, text);
        assert_int_equal(p.rc, PRA_ERR_INVALID_ARG);
        if (!strstr(p.err.message, rows[i].says))
            fail_msg("%s: %s", rows[i].unit, p.err.message);
        pra_arena_free(p.arena);
    }
    free(text);
}

static void test_values(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "tls_server_config:\n"
              "  cert_file: a.crt\n"
              "  key_file: /k/a.key\n"
              "  client_ca: |\n    one\n    two\n"
              "  client_auth_type: RequireAndVerifyClientCert\n"
              "  client_allowed_sans: [one, 127.0.0.1]\n"
              "  max_version: TLS12\n"
              "  cipher_suites:\n"
              "  - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\n"
              "  - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\n"
              "  - TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA\n"
              "  - TLS_AES_128_GCM_SHA256\n"
              "  curve_preferences: [X25519, CurveP521, X25519]\n"
              "http_server_config:\n"
              "  http2: true\n"
              "  headers:\n"
              "    X-Frame-Options: deny\n"
              "    X-XSS-Protection: \"\"\n"
              "    Content-Security-Policy: \"default-src 'self'\"\n"
              "basic_auth_users:\n"
              "  alice: " HASH "\n"
              "rate_limit: {interval: 1m1.5s, burst: 7}\n");
    const pra__tls_config *tls = &p.config.tls;
    assert_string_equal(p.err.message, "");
    assert_true(tls->present);
    assert_string_equal(tls->cert_file, "etc/a.crt");
    assert_string_equal(tls->key_file, "/k/a.key");
    assert_string_equal(tls->client_ca, "one\ntwo\n");
    assert_int_equal(tls->client_auth, PRA__REQUIRE_AND_VERIFY);
    assert_int_equal(tls->client_san_count, 2);
    assert_string_equal(tls->client_sans[1], "127.0.0.1");
    assert_int_equal(tls->min_version, PRA__TLS12);
    assert_int_equal(tls->max_version, PRA__TLS12);
    assert_int_equal(tls->suite_count, 2);
    assert_true(tls->suites_given && tls->suites[1]->ecdsa && !tls->suites[0]->ecdsa);
    assert_int_equal(tls->curve_count, 2);
    assert_string_equal(tls->curves[1], "SECP521R1");
    assert_true(tls->prefer_server && p.config.http2);
    assert_int_equal(p.config.header_count, 2);
    assert_string_equal(p.config.headers[1].value, "default-src 'self'");
    assert_int_equal(p.config.user_count, 1);
    assert_string_equal(p.config.users[0].name, "alice");
    assert_string_equal(p.config.users[0].hash, HASH);
    assert_true(p.config.rate_interval_ns == UINT64_C(61500000000));
    assert_int_equal(p.config.rate_burst, 7);
    pra_arena_free(p.arena);
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } durations[] = {{"1500", 1500},         {"1ns", 1},
                     {"2us", 2000},          {"2\xc2\xb5s", 2000},
                     {"3ms", 3000000},       {".5s", 500000000},
                     {"1m", 60000000000},    {"1h", 3600000000000},
                     {"1m30s", 90000000000}, {"1m30ms", 60030000000}};
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        char text[80];
        struct parsed p;
        (void)snprintf(text, sizeof(text), "rate_limit: {interval: %s, burst: 1}",
                       durations[i].text);
        parse(&p, text);
        if (p.rc || p.config.rate_interval_ns != durations[i].ns)
            fail_msg("%s: %s %llu", text, p.err.message,
                     (unsigned long long)p.config.rate_interval_ns);
        pra_arena_free(p.arena);
    }
}

/* An allocation that fails is said, and nothing is lost. */
static void test_no_memory(void **state)
{
    (void)state;
    static const char text[] =
        TLS ", client_auth_type: RequestClientCert, client_allowed_sans: [aaaaaaaaaaaa]}\n"
            "basic_auth_users: {a: " HASH "}\n"
            "http_server_config: {headers: {X-Frame-Options: deny}}\n";
    int rc = PRA_ERR_NOMEM;
    for (size_t room = 1; rc == PRA_ERR_NOMEM; room += 8) {
        struct parsed p = {.rc = 0};
        assert_int_equal(pra_arena_new(NULL, room, &p.arena), PRA_OK);
        rc = pra__web_config_parse((pra_str){text, sizeof(text) - 1}, "web.yml", p.arena, &p.config,
                                   &p.err);
        assert_true(rc == PRA_OK || rc == PRA_ERR_NOMEM);
        assert_true(rc == PRA_OK || room < 4096);
        pra_arena_free(p.arena);
    }
}

/* Every beginning of a good file, and every byte of it made another, is good or an error. */
static void test_mutations(void **state)
{
    (void)state;
    static const char text[] = "tls_server_config:\n  cert_file: a\n  key_file: b\n"
                               "  client_allowed_sans: [a, \"b\"]\nrate_limit: {burst: 1}\n";
    static const char others[] = "\0\xff{}[]:-&*|\"'\n\t#!%@`?,";
    char changed[sizeof(text)];
    struct parsed p;
    for (size_t i = 0; i < sizeof(text); i++) {
        parse_bytes(&p, text, i);
        assert_true(p.rc == PRA_OK || p.rc == PRA_ERR_INVALID_ARG);
        pra_arena_free(p.arena);
        for (size_t k = 0; k < sizeof(others); k++) {
            memcpy(changed, text, sizeof(text));
            changed[i] = others[k];
            parse_bytes(&p, changed, sizeof(text) - 1);
            assert_true(p.rc == PRA_OK || p.rc == PRA_ERR_INVALID_ARG);
            pra_arena_free(p.arena);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_dear_shapes), cmocka_unit_test(test_values),
        cmocka_unit_test(test_durations),   cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

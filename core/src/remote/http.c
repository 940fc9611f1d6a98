/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/http.h"

#include <string.h>

#include "base/str.h"

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

int pra__str_eq_nocase(pra_str a, pra_str b)
{
    if (a.len != b.len)
        return 0;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return 0;
    return 1;
}

int pra__str_is(pra_str s, const char *name_cstr)
{
    return pra__str_eq_nocase(s, (pra_str){name_cstr, strlen(name_cstr)});
}

static int str_equals(pra_str s, const char *cstr)
{
    return pra__str_equal(s, (pra_str){cstr, strlen(cstr)});
}

static void skip_space(pra_str *s)
{
    while (s->len && (*s->ptr == ' ' || *s->ptr == '\t')) {
        s->ptr++;
        s->len--;
    }
}

pra_str pra__trim(pra_str s)
{
    skip_space(&s);
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

void pra__split_target(pra_str target, pra_str *path, pra_str *query_string)
{
    const char *mark = target.len ? memchr(target.ptr, '?', target.len) : NULL;
    size_t path_len = mark ? (size_t)(mark - target.ptr) : target.len;
    *path = (pra_str){target.ptr, path_len};
    *query_string = mark ? (pra_str){mark + 1, target.len - path_len - 1} : (pra_str){NULL, 0};
}

int32_t pra__endpoint_of(pra_str path)
{
    size_t start = path.len;
    if (start == 0)
        return PRA_ENDPOINT_AUTO;
    while (start > 0 && path.ptr[start - 1] != '/')
        start--;
    pra_str last = {path.ptr + start, path.len - start};
    if (str_equals(last, "write") || str_equals(last, "receive"))
        return PRA_ENDPOINT_WRITE;
    if (str_equals(last, "read"))
        return PRA_ENDPOINT_READ;
    return PRA_ENDPOINT_AUTO;
}

int pra__parse_u64(pra_str value, uint64_t *out)
{
    uint64_t n = 0;
    if (value.len == 0 || value.len > 20)
        return 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return 0;
        uint64_t digit = (uint64_t)(value.ptr[i] - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return 0;
        n = n * 10 + digit;
    }
    *out = n;
    return 1;
}

/* ── Media types, by RFC 9110 §8.3.1 and §5.6 ── */

static int is_token_char(char c)
{
    return c > 0x20 && c < 0x7F && !strchr("\"(),/:;<=>?@[\\]{}", c);
}

static int take_char(pra_str *s, char c)
{
    if (s->len == 0 || *s->ptr != c)
        return 0;
    s->ptr++;
    s->len--;
    return 1;
}

static int take_token(pra_str *s, pra_str *out)
{
    size_t n = 0;
    while (n < s->len && is_token_char(s->ptr[n]))
        n++;
    *out = (pra_str){s->ptr, n};
    s->ptr += n;
    s->len -= n;
    return n > 0;
}

/* A quoted string, unescaped into buf. Returns 0 if it is malformed or longer than buf. */
static int take_quoted(pra_str *s, char *buf, size_t cap, pra_str *out)
{
    size_t n = 0;
    while (s->len && *s->ptr != '"') {
        if (*s->ptr == '\\')
            take_char(s, '\\');
        if (s->len == 0 || n == cap)
            return 0;
        buf[n++] = *s->ptr++;
        s->len--;
    }
    *out = (pra_str){buf, n};
    return take_char(s, '"');
}

static int32_t version_of_message(pra_str name)
{
    if (str_equals(name, "prometheus.WriteRequest"))
        return PRA_WRITE_V1;
    if (str_equals(name, "io.prometheus.write.v2.Request"))
        return PRA_WRITE_V2;
    return PRA_ERR_CONTENT_TYPE;
}

/* One `name=value` behind a semicolon; sets *version if it is the proto parameter. Returns 0 if it
 * is malformed. */
static int take_parameter(pra_str *s, int32_t *version)
{
    char buf[64];
    pra_str name;
    pra_str value;
    if (!take_token(s, &name) || !take_char(s, '='))
        return 0;
    if (take_char(s, '"') ? !take_quoted(s, buf, sizeof(buf), &value) : !take_token(s, &value))
        return 0;
    if (!pra__str_is(name, "proto"))
        return 1;
    if (*version)
        return 0; /* named twice: no telling which is meant */
    *version = version_of_message(value);
    return 1;
}

int32_t pra__content_type_version(pra_str value)
{
    pra_str type;
    pra_str subtype;
    int32_t version = 0;
    skip_space(&value);
    if (value.len == 0)
        return PRA_WRITE_V1;
    if (!take_token(&value, &type) || !take_char(&value, '/') || !take_token(&value, &subtype) ||
        !pra__str_is(type, "application") || !pra__str_is(subtype, "x-protobuf"))
        return PRA_ERR_CONTENT_TYPE;
    for (;;) {
        skip_space(&value);
        if (value.len == 0)
            return version ? version : PRA_WRITE_V1;
        if (!take_char(&value, ';'))
            return PRA_ERR_CONTENT_TYPE;
        skip_space(&value);
        if (value.len && *value.ptr != ';' && !take_parameter(&value, &version))
            return PRA_ERR_CONTENT_TYPE;
    }
}

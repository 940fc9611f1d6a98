/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/template.h"

#include "base/arena.h"
#include "base/str.h"

/* Bytes of the name at p, which may be a number. */
static int name_length(pra_str s, size_t *len)
{
    size_t n = 0;
    while (n < s.len &&
           (s.ptr[n] == '_' || (s.ptr[n] >= '0' && s.ptr[n] <= '9') ||
            (s.ptr[n] >= 'a' && s.ptr[n] <= 'z') || (s.ptr[n] >= 'A' && s.ptr[n] <= 'Z')))
        n++;
    *len = n;
    return n < s.len && (unsigned char)s.ptr[n] >= 0x80 ? pra__regex_word(s, len) : PRA_OK;
}

/* The number that a name is; -1 if it is none: no leading zeros, at most nine digits. */
static int64_t number_of(pra_str name)
{
    int64_t number = 0;
    if (name.ptr[0] == '0' && name.len > 1)
        return -1;
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] < '0' || name.ptr[i] > '9' || number >= 100000000)
            return -1;
        number = number * 10 + (name.ptr[i] - '0');
    }
    return number;
}

/* The reference that rest, what stands behind a $, begins with: its name and its bytes in *size,
 * which is 0 if it is none. */
static int reference(pra_str rest, pra_str *name, size_t *size)
{
    const size_t brace = rest.len && rest.ptr[0] == '{';
    *size = 0;
    if (rest.len == brace)
        return PRA_OK;
    int rc = name_length((pra_str){rest.ptr + brace, rest.len - brace}, &name->len);
    name->ptr = rest.ptr + brace;
    const size_t end = brace + name->len;
    if (rc || name->len == 0 || (brace && (end == rest.len || rest.ptr[end] != '}')))
        return rc;
    *size = end + brace;
    return PRA_OK;
}

static void add_group(struct pra__template *t, pra_str name)
{
    const int64_t number = number_of(name);
    struct pra__template_part *part = &t->parts[t->count++];
    *part = (struct pra__template_part){.is_group = 1};
    if (number < 0) {
        part->text = name;
        t->has_names = 1;
    } else {
        part->group = (uint32_t)number;
        if (t->groups <= part->group)
            t->groups = (size_t)part->group + 1;
    }
}

static void add_text(struct pra__template *t, pra_str text, size_t from, size_t to)
{
    if (from < to)
        t->parts[t->count++] = (struct pra__template_part){.text = {text.ptr + from, to - from}};
}

/* Each $ makes two parts at most: the text before it, and it. */
static size_t most_parts(pra_str text)
{
    size_t n = 1;
    for (size_t i = 0; i < text.len; i++)
        n += text.ptr[i] == '$' ? 2 : 0;
    return n;
}

int pra__template_parse(pra_str text, pra_arena *arena, struct pra__template *out)
{
    const size_t most = most_parts(text);
    struct pra__template t = {0};
    if (most > SIZE_MAX / sizeof(*t.parts))
        return PRA_ERR_NOMEM;
    t.parts = pra_arena_alloc(arena, most * sizeof(*t.parts), sizeof(void *));
    if (!t.parts)
        return PRA_ERR_NOMEM;
    size_t from = 0, at = 0; /* [from, at) is text */
    while (at < text.len) {
        pra_str name;
        size_t size;
        if (text.ptr[at++] != '$')
            continue;
        if (at < text.len && text.ptr[at] == '$') {
            add_text(&t, text, from, at);
            from = ++at;
            continue;
        }
        int rc = reference((pra_str){text.ptr + at, text.len - at}, &name, &size);
        if (rc)
            return rc;
        if (size == 0)
            continue;
        add_text(&t, text, from, at - 1);
        add_group(&t, name);
        from = at += size;
    }
    add_text(&t, text, from, text.len);
    *out = t;
    return PRA_OK;
}

int pra__template_resolve(struct pra__template *t, const struct pra__regex *regex, size_t groups)
{
    size_t kept = 0;
    t->groups = 0;
    for (size_t i = 0; i < t->count; i++) {
        struct pra__template_part part = t->parts[i];
        if (part.is_group && part.text.len) {
            int number = regex ? pra__regex_group(regex, part.text) : 0;
            if (number < 0)
                return number;
            part.group = number ? (uint32_t)number : UINT32_MAX;
        }
        if (part.is_group && part.group >= groups)
            continue;
        if (part.is_group && t->groups <= part.group)
            t->groups = (size_t)part.group + 1;
        t->parts[kept++] = part;
    }
    t->count = kept;
    return PRA_OK;
}

static pra_str part_text(const struct pra__template_part *part, const pra_str *groups)
{
    return part->is_group ? groups[part->group] : part->text;
}

size_t pra__template_size(const struct pra__template *t, const pra_str *groups)
{
    size_t size = 0;
    for (size_t i = 0; i < t->count; i++) {
        const size_t len = part_text(&t->parts[i], groups).len;
        size = len < SIZE_MAX - size ? size + len : SIZE_MAX;
    }
    return size;
}

void pra__template_expand(const struct pra__template *t, const pra_str *groups, char *dst)
{
    for (size_t i = 0; i < t->count; i++) {
        const pra_str text = part_text(&t->parts[i], groups);
        if (text.len)
            memcpy(dst, text.ptr, text.len);
        dst += text.len;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* RE2 allocates with operator new: the only file of the library that does not use pra_alloc. */
#include "remote/regex.h"

extern "C" {
#include "base/error.h"
#include "base/str.h"
}

#ifdef PRA_HAVE_RE2

#include <cstring>
#include <new>
#include <string>
#include <vector>

#include <re2/re2.h>

struct pra__regex {
    pra__regex(const std::string &pattern, const RE2::Options &options) : re(pattern, options) {}
    RE2 re;
};

namespace
{

/* What RE2 takes at its peak for each of these, measured and rounded up: its max_mem bounds the
 * compiled program, not the tree parsed before it. */
constexpr uint64_t byte_effort = 1200;
constexpr uint64_t class_effort = 256 * 1024; /* \p{…}: the ranges of a Unicode class */
constexpr uint64_t repeat_effort = 400;       /* x{n}: each of the n copies */

/* Reads a pattern once, for what must be known before RE2 sees it. */
class Scanner
{
  public:
    explicit Scanner(const std::string &pattern)
        : effort(byte_effort * (pattern.size() + 1)), p(pattern.data()), end(p + pattern.size()),
          last_posix_end(pattern.rfind(":]") == std::string::npos ? p : p + pattern.rfind(":]"))
    {
        text.reserve(pattern.size() + 16);
        while (p < end)
            step();
    }

    std::string text; /* the pattern in RE2's spelling */
    uint64_t effort;
    bool any_byte = false; /* has \C */

  private:
    const char *p;
    const char *end;
    const char *last_posix_end;

    bool next_is(const char *s) const
    {
        size_t len = std::strlen(s);
        return static_cast<size_t>(end - p) >= len && std::memcmp(p, s, len) == 0;
    }

    void copy(size_t len)
    {
        text.append(p, len);
        p += len;
    }

    /* Copies up to and including mark, or to the end. */
    void copy_through(const char *mark)
    {
        while (p < end && !next_is(mark))
            copy(1);
        if (p < end)
            copy(std::strlen(mark));
    }

    void step()
    {
        if (next_is("\\Q"))
            copy_through("\\E");
        else if (*p == '\\')
            escape();
        else if (*p == '[')
            char_class();
        else if (*p == '{')
            repeat();
        else if (next_is("(?<") && p + 3 < end && p[3] != '=' && p[3] != '!')
            text += "(?P<", p += 3;
        else
            copy(1);
    }

    void escape()
    {
        if (next_is("\\p") || next_is("\\P"))
            effort += class_effort;
        any_byte = any_byte || next_is("\\C");
        copy(p + 1 < end ? 2 : 1);
    }

    void char_class()
    {
        copy(next_is("[^") ? 2 : 1);
        if (p < end && *p == ']')
            copy(1);
        while (p < end && *p != ']') {
            if (*p == '\\')
                escape();
            else if (next_is("[:") && p + 2 <= last_posix_end)
                copy_through(":]");
            else
                copy(1);
        }
    }

    void repeat()
    {
        copy(1);
        uint64_t count = 0, most = 0;
        for (; p < end && ((*p >= '0' && *p <= '9') || *p == ','); copy(1)) {
            count = *p == ',' ? 0 : count * 10 + static_cast<uint64_t>(*p - '0');
            most = count > most ? count : most;
            if (count > 1000) /* refused by RE2 */
                return;
        }
        effort += most * repeat_effort;
    }
};

/* The whole of RE2's error, and its quotation of the pattern cut short. */
int refuse(pra_error *err, const RE2 &re)
{
    if (re.error_code() == RE2::ErrorPatternTooLarge)
        return pra_error_set_cstr(
            err, PRA_ERR_PATTERN_TOO_COSTLY,
            "regular expression compiles to more than max_pattern_memory, or than "
            "its share of max_memory_bytes (--limit.pattern-memory, "
            "--limit.request-memory)");
    return pra__error(err, PRA_ERR_MATCHER, 0, "invalid regular expression: %.120s",
                      re.error().c_str());
}

} // namespace

int pra__regex_new(pra_str pattern, uint64_t max_memory, uint64_t *effort, struct pra__regex **out,
                   pra_error *err)
try {
    Scanner scanner(std::string(pattern.ptr ? pattern.ptr : "", pattern.len));
    if (scanner.any_byte)
        return pra_error_set_cstr(err, PRA_ERR_MATCHER,
                                  "invalid regular expression: invalid escape sequence: \\C");
    if (scanner.effort > *effort)
        return pra_error_set_cstr(
            err, PRA_ERR_PATTERN_TOO_COSTLY,
            "regular expressions cost too much to compile: use fewer, shorter "
            "ones, or fewer \\p classes and counted repetitions");
    *effort -= scanner.effort;

    RE2::Options options;
    options.set_dot_nl(true);
    options.set_never_nl(false);
    options.set_log_errors(false);
    options.set_max_mem(static_cast<int64_t>(max_memory < 64 ? 64 : max_memory)); /* 0: no bound */
    auto *regex = new pra__regex(scanner.text, options);
    if (!regex->re.ok()) {
        int rc = refuse(err, regex->re);
        delete regex;
        return rc;
    }
    *out = regex;
    return PRA_OK;
} catch (const std::bad_alloc &) {
    return pra__nomem(err);
}

void pra__regex_free(struct pra__regex *regex)
{
    delete regex;
}

int pra__regex_matches(const struct pra__regex *regex, pra_str text)
try {
    re2::StringPiece piece(text.ptr ? text.ptr : "", text.len);
    return regex->re.Match(piece, 0, piece.size(), RE2::ANCHOR_BOTH, nullptr, 0);
} catch (const std::bad_alloc &) {
    return PRA_ERR_NOMEM;
}

size_t pra__regex_prefix(const struct pra__regex *regex, char *dst, size_t cap)
try {
    std::string least, most;
    if (!regex->re.PossibleMatchRange(&least, &most, static_cast<int>(cap)))
        return 0;
    size_t len = 0; /* what all between the two have in common */
    while (len < cap && len < least.size() && len < most.size() && least[len] == most[len])
        len++;
    std::memcpy(dst, least.data(), len);
    while (!pra__utf8_valid({dst, len}))
        len--;
    return len;
} catch (const std::bad_alloc &) {
    return 0;
}

size_t pra__regex_groups(const struct pra__regex *regex)
{
    return static_cast<size_t>(regex->re.NumberOfCapturingGroups());
}

int pra__regex_group(const struct pra__regex *regex, pra_str name)
try {
    const auto &groups = regex->re.NamedCapturingGroups();
    const auto found = groups.find(std::string(name.ptr, name.len));
    return found == groups.end() ? 0 : found->second;
} catch (const std::bad_alloc &) {
    return PRA_ERR_NOMEM;
}

int pra__regex_capture(const struct pra__regex *regex, pra_str text, pra_str *groups, size_t count)
try {
    re2::StringPiece few[8];
    std::vector<re2::StringPiece> many(count > 8 ? count : 0);
    re2::StringPiece *found = count > 8 ? many.data() : few;
    re2::StringPiece piece(text.ptr ? text.ptr : "", text.len);
    if (!regex->re.Match(piece, 0, piece.size(), RE2::ANCHOR_BOTH, found, static_cast<int>(count)))
        return 0;
    for (size_t i = 0; i < count; i++)
        groups[i] = {found[i].data(), found[i].size()};
    return 1;
} catch (const std::bad_alloc &) {
    return PRA_ERR_NOMEM;
}

int pra__regex_word(pra_str text, size_t *len)
try {
    RE2::Options options;
    options.set_log_errors(false);
    const RE2 word("[\\p{L}\\p{Nd}_]*", options);
    re2::StringPiece found;
    if (!word.ok())
        return PRA_ERR_NOMEM;
    *len = 0;
    if (word.Match(re2::StringPiece(text.ptr, text.len), 0, text.len, RE2::ANCHOR_START, &found, 1))
        *len = found.size();
    return PRA_OK;
} catch (const std::bad_alloc &) {
    return PRA_ERR_NOMEM;
}

#else

int pra__regex_new(pra_str, uint64_t, uint64_t *, struct pra__regex **, pra_error *err)
{
    return pra_error_set_cstr(err, PRA_ERR_NOT_SUPPORTED,
                              "this build has no RE2: only literals, alternatives, .* and .+ are "
                              "understood in regular expressions");
}

void pra__regex_free(struct pra__regex *) {}

int pra__regex_matches(const struct pra__regex *, pra_str)
{
    return 0;
}

size_t pra__regex_prefix(const struct pra__regex *, char *, size_t)
{
    return 0;
}

size_t pra__regex_groups(const struct pra__regex *)
{
    return 0;
}

int pra__regex_group(const struct pra__regex *, pra_str)
{
    return 0;
}

int pra__regex_capture(const struct pra__regex *, pra_str, pra_str *, size_t)
{
    return 0;
}

int pra__regex_word(pra_str, size_t *)
{
    return PRA_ERR_NOT_SUPPORTED;
}

#endif

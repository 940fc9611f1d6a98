#include "message/read_request.h"
#include "remote/matcher.h"
#include "base/str.h"
#include "base/alloc.h"
int pra_read_request_compile(pra_read_request *req, const pra_limits *limits, pra_error *err)
{
    struct pra__compile_opts o;
    int rc = pra__compile_opts_init(&o, limits);
    for (size_t i = 0; !rc && i < req->query_count; i++)
        for (size_t k = 0; !rc && k < req->queries[i]->matcher_count; k++)
            rc = pra__matcher_compile(&req->queries[i]->matchers[k], pra__read_request_alloc(req), &o, err);
    return rc;
}
int pra_query_matches(const pra_query *q, const pra_label *l, size_t n)
{
    for (size_t i = 0; i < q->matcher_count; i++) {
        pra_str v = {0};
        for (size_t k = 0; k < n; k++) if (pra__str_equal(l[k].name, q->matchers[i].name)) v = l[k].value;
        if (pra_matcher_matches(&q->matchers[i], v) != 1) return 0;
    }
    return 1;
}

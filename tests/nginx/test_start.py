def test_starts(serve):
    n = serve("""server { listen 127.0.0.1:PORT; location / { content_by_lua_block { ngx.say(jit.version, package.cpath) } } }""")
    a = n.request("GET", "/")
    print(a)
    assert a.status == 200

//! Every form in which an app can be named.

use crate::support::Server;

fn answers(app: &str, module: &str) -> String {
    let server = Server::app(app).file("m.py", module).start();
    let text = server.get("/").text();
    server.stop();
    text
}

#[test]
fn every_form_of_an_app_is_found() {
    let body = "
def make(text):
    def app(environ, start_response):
        start_response('200 OK', [])
        return [text.encode()]
    return app
";
    assert_eq!(
        answers("m", &format!("{body}application = make('plain')\n")),
        "plain"
    );
    let dotted = format!(
        "
{body}class a:
    class b:
        c = staticmethod(make('dotted'))
"
    );
    assert_eq!(answers("m:a.b.c", &dotted), "dotted");
    let factory = format!(
        "{body}def create(name='none', k=0, *, more=None):\n    return make(f'{{name}} {{k}} {{more}}')\n"
    );
    assert_eq!(answers("m:create()", &factory), "none 0 None");
    assert_eq!(
        answers("m:create(\"a b\", k=1, more=[1, {'x': (2,)}])", &factory),
        "a b 1 [1, {'x': (2,)}]"
    );
    let instance = "
class App:
    def __call__(self, environ, start_response):
        start_response('200 OK', [])
        return [b'instance']
app = App()
";
    assert_eq!(answers("m:app", instance), "instance");
    let class = "
class App:
    def __init__(self, environ, start_response):
        self.start = start_response
    def __iter__(self):
        self.start('200 OK', [])
        yield b'class'
";
    assert_eq!(answers("m:App", class), "class");
}

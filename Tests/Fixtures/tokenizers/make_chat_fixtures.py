"""Writes chat.json: conversations as text, by templates that transformers renders.

Needs `transformers` 5 with jinja2; the versions used are in chat.json. Run it in this folder:

    python make_chat_fixtures.py

Each set has a template, or the name of a format whose texts this script's own template of it gives.
A case is a prompt and an answer; "prompt" is the text with the generation prompt, "answer" what the
whole conversation's text has after it. null: the template raises an exception, or the whole text
does not begin with the prompt's.
"""

import json
import random

import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

ALTERNATE = (
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
    "{% endif %}"
)

NAMED = {
    "chatml": "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>{{ '\\n' }}{% endfor %}"
              "{% if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{% endif %}",
    "qwen": "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system\n"
            "You are a helpful assistant.<|im_end|>{{ '\\n' }}{% endif %}<|im_start|>{{ m['role'] }}\n"
            "{{ m['content'] }}<|im_end|>{{ '\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{% endif %}",
    "llama3": "{% for m in messages %}{% if loop.index0 == 0 %}{{ bos_token }}{% endif %}<|start_header_id|>"
              "{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "phi3": "{% for m in messages %}{% if m['role'] == 'system' %}{{ '<|system|>\\n' }}{% elif m['role'] == 'user' %}"
            "{{ '<|user|>\\n' }}{% elif m['role'] == 'assistant' %}{{ '<|assistant|>\\n' }}"
            "{% else %}{{ raise_exception('role') }}{% endif %}{{ m['content'] + '<|end|>\\n' }}{% endfor %}"
            "{{ '<|assistant|>\\n' if add_generation_prompt else eos_token }}",
    "mistral": "{{ bos_token }}{% for message in messages %}" + ALTERNATE +
               "{% if message['role'] == 'user' %}[INST] {{ message['content'] }} [/INST]"
               "{% elif message['role'] == 'assistant' %}{{ message['content'] ~ eos_token }}"
               "{% else %}{{ raise_exception('role') }}{% endif %}{% endfor %}",
    "mistral-v3": "{{ bos_token }}{% for message in messages %}" + ALTERNATE +
                  "{% if message['role'] == 'user' %}[INST] {{ message['content'] }}[/INST]"
                  "{% elif message['role'] == 'assistant' %} {{ message['content'] | trim }}{{ eos_token }}"
                  "{% else %}{{ raise_exception('role') }}{% endif %}{% endfor %}",
    "llama2": "{% if messages[0]['role'] == 'system' %}{% set s = '<<SYS>>\\n' ~ messages[0]['content'] ~ '\\n<</SYS>>\\n\\n' %}"
              "{% set rest = messages[1:] %}{% else %}{% set s = '' %}{% set rest = messages %}{% endif %}"
              "{% if not rest %}{{ raise_exception('system alone') }}{% endif %}"
              "{% for message in rest %}" + ALTERNATE + "{% if message['role'] == 'user' %}"
              "{% if loop.first %}{% set c = s ~ message['content'] %}{% else %}{% set c = message['content'] %}{% endif %}"
              "{{ bos_token }}[INST] {{ c.strip() }} [/INST]{% elif message['role'] == 'assistant' %} "
              "{{ message['content'].strip() }} {{ eos_token }}{% else %}{{ raise_exception('role') }}{% endif %}{% endfor %}",
    "zephyr": "{% for m in messages %}{% if m['role'] == 'user' %}<|user|>{% elif m['role'] == 'system' %}<|system|>"
              "{% elif m['role'] == 'assistant' %}<|assistant|>{% else %}{{ raise_exception('role') }}{% endif %}"
              "{{ '\\n' + m['content'] + eos_token + '\\n' }}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}",
}

# The language: white space control, scopes, operators, methods, filters, tests.
LANGUAGE = [
    "x\n   {{ messages[0].content }}{% if true %}   {% if true %}\ny{% endif %}{{ 1 }}   {% endif %}{{ 2 }} {# c #}z\n  {{- 3 }}"
    "  {%- if true %} {% endif %}  {% for m in messages %}{{ m.content }}\n\t {# d #}\n  {% endfor %}",
    "  {% for m in messages %}\n    {% if m.role == 'user' %}\n  U {{ m.content }}\n\t{%+ else %}\nA {{ m.content }}\n"
    "    {%- endif +%}\n {# note #}\n{% endfor %}\n\n",
    "{%- for m in messages -%}\n   {{- m.role }}: {{ m.content -}}   \n x {#- c -#}  y\n{% endfor -%}   end\n",
    "{% set x = 'a' %}{% for m in messages %}{{ x }}{% set x = m.role %}{{ x }}{{ m.content }}{% endfor %}{{ x }}",
    "{% set ns = namespace(n=0, last='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% set ns.last = m.content %}"
    "{{ m.content }}{% endfor %}{{ ns.n }}{{ ns.last }}",
    "{% for m in messages[::-1] %}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.last }}{{ loop.length }}{{ m['content'] }}"
    "{% if loop.previtem is defined %}<{{ loop.previtem.role }}{% endif %}"
    "{% if loop.nextitem %}>{{ loop.nextitem.role }}{% endif %}{% endfor %}",
    "{% for m in messages if m.role != 'system' %}{{ loop.index }}{{ m.content }}{% else %}none{% endfor %}"
    "{% for m in messages if m.role == 'system' %}{{ m.content.split('\\n')[-1].lstrip('\\n ') }}"
    "{{ m.content.split('\\n') | length }}{{ m.content }}{% endfor %}",
    "{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 * 3 + 4 }} {{ 1 < 2 <= 2 }} {{ 1 ~ 'a' ~ true ~ none }} {{ 'a' 'b' }} "
    "{{ not 1 == 2 }} {{ 3 - 1 - 1 }} {{ 'x' if false }}|{{ 1 in [1, 2] }} {{ 'b' not in 'abc' }} {{ true == 1 }} "
    "{{ [1, 2][-1] }} {{ 'abc'[1:] }} {{ 'abc'[::-1] }} {{ {'k': 'v'}.k }} {{ {'k': 'v'}['k'] }} {{ {}.get('a', 'b') }}"
    "{% for m in messages %}{{ m.content }}{% endfor %}",
    "{% for m in messages %}{{ m.content | trim | length }}{{ m.content.strip() }}|{{ m.content.rstrip() }}|"
    "{{ m.content.startswith(' ') }}{{ m.content.endswith('\\n') }}{{ m.content.replace(' ', '_') }}{{ m.content }}"
    "{{ m.name is defined }}{{ m.name }}{{ m.name is none }}{{ m.content is string }}{{ m is mapping }}{{ m.x | default('d') }}"
    "{{ loop.index0 is odd }}{% endfor %}",
    "{% for i in range(1, 4) %}{% for m in messages %}{% if loop.index == i %}{{ m.content }}{% endif %}{% endfor %}{% endfor %}"
    "{% for m in messages %}{{ m.content }}{% for k, v in m.items() %}[{{ k }}]{% endfor %}{% endfor %}",
    "{% set text %}{% for m in messages %}{{ m.content }},{% endfor %}{% endset %}{{ text }}{{ text | length }}"
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
    "{{ ['a', 'b', 'c'] | reject('equalto', 'b') | join('-') }}",
    "{% if tools is defined and tools is not none %}{{ tools | tojson }}{% endif %}{% for m in messages %}"
    "{{ m['content'] if m['content'] is not none else '' }}{{ '\\u00e9\\x41\\\\n\\'\\q' }}{% generation %}\n{{ m.role }}{% endgeneration %}"
    "{% endfor %}",
]

ROLES = [["user"], ["user", "assistant", "user"], ["system", "user"], ["system", "user", "assistant", "user"]]
CONTENTS = [
    "Hello", "  two  ", "\nline\n", "é 日本", "", "a\u3000", "\x1cx\x1f", "don't {{ x }}", "e\u0301\u00a0", "<|im_end|>\n",
    "{% if %}", "x" * 20, "\t\u200bz",
]


def conversation(generator, roles=None):
    def message(role):
        return {"role": role, "content": "".join(generator.choice(CONTENTS) for _ in range(generator.randint(1, 2)))}

    prompt = [message(role) for role in roles or generator.choice(ROLES)]
    following = [["assistant"], ["assistant"], ["assistant", "user", "assistant"]]
    return prompt, [message(role) for role in generator.choice(following)]


def cases(template, bos, eos, count, generator, extra=()):
    compiled = _compile_jinja_template(template)

    def render(messages, add_generation_prompt):
        try:
            return compiled.render(messages=messages, add_generation_prompt=add_generation_prompt, bos_token=bos,
                                   eos_token=eos, tools=None, documents=None)
        except jinja2.exceptions.TemplateError:
            return None

    result = []
    for roles in list(extra) + [None] * count:
        messages, following = conversation(generator, roles)
        prompt, whole = render(messages, True), render(messages + following, False)
        answer = None
        if prompt is not None and whole is not None and whole.startswith(prompt):
            answer = whole[len(prompt):]
        result.append({"messages": [[m["role"], m["content"]] for m in messages],
                       "following": [[m["role"], m["content"]] for m in following], "prompt": prompt, "answer": answer})
    return result


def main():
    generator = random.Random(7)
    tokens = [("<s>", "</s>"), ("<|begin_of_text|>", "<|eot_id|>"), ("", "<|endoftext|>")]
    sets = []
    odd_roles = [["user", "user"], ["tool"], ["system"], ["user", "system"]]
    for name, template in NAMED.items():
        bos, eos = generator.choice(tokens)
        free = name in ["chatml", "qwen", "llama3"]
        sets.append({"format": name, "bos": bos, "eos": eos,
                     "cases": cases(template, bos, eos, 10, generator, odd_roles)})
        sets.append({"template": template, "bos": bos, "eos": eos,
                     "cases": cases(template, bos, eos, 4, generator, odd_roles if not free else ())})
    for template in LANGUAGE:
        bos, eos = generator.choice(tokens)
        sets.append({"template": template, "bos": bos, "eos": eos, "cases": cases(template, bos, eos, 5, generator)})
    versions = {"transformers": transformers.__version__, "jinja2": jinja2.__version__}
    with open("chat.json", "w", encoding="utf-8", newline="\n") as file:
        json.dump({"versions": versions, "sets": sets}, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()

/// Chat templates that can be given by name.
enum NamedTemplates {
  /// Names and templates, in the order in which messages list them.
  static let all: [(name: String, template: String)] = [
    ("chatml", chatML), ("qwen", qwen), ("llama3", llama3), ("phi3", phi3), ("mistral", mistral),
    ("mistral-v3", mistralV3), ("llama2", llama2), ("zephyr", zephyr),
  ]

  /// ChatML: Qwen's, Yi's, Hermes' form.
  private static let chatML = """
    {% for message in messages %}
    {{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endfor %}
    {%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
    """

  /// ChatML with the system message that Qwen2's template puts where there is none.
  private static let qwen =
    """
    {% if messages[0].role != 'system' %}
    {{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}

    """ + chatML

  private static let llama3 = """
    {{ bos_token }}
    {%- for message in messages %}
    {{ '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}
    {{- message.content | trim + '<|eot_id|>' }}
    {%- endfor %}
    {%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}
    """

  /// Phi-3-mini's: a text that is complete ends with the end token.
  private static let phi3 = """
    {% for message in messages %}
    {%- if message.role in ['system', 'user', 'assistant'] %}
    {{- '<|' + message.role + '|>\\n' + message.content + '<|end|>\\n' }}
    {%- endif %}
    {%- endfor %}
    {%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}
    """

  private static let alternation = """
    {%- if message.role not in ['user', 'assistant'] %}
    {{- raise_exception('only the roles user and assistant have a place') }}
    {%- endif %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('user and assistant must alternate, the user first') }}
    {%- endif %}

    """

  /// Mistral-7B-Instruct v0.2's first template.
  private static let mistral =
    "{{ bos_token }}{% for message in messages %}\n" + alternation + """
      {%- if message.role == 'user' %}{{ '[INST] ' + message.content + ' [/INST]' }}
      {%- else %}{{ message.content + eos_token }}{% endif %}
      {%- endfor %}
      """

  /// Mistral-7B-Instruct v0.3's spaces.
  private static let mistralV3 =
    "{{ bos_token }}{% for message in messages %}\n" + alternation + """
      {%- if message.role == 'user' %}{{ '[INST] ' + message.content + '[/INST]' }}
      {%- else %}{{ ' ' + message.content | trim + eos_token }}{% endif %}
      {%- endfor %}
      """

  /// Llama 2's, the system message inside of the first user's.
  private static let llama2 =
    """
    {% set system = '' %}{% set turns = messages %}
    {%- if messages[0].role == 'system' %}
    {%- set system = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' %}
    {%- set turns = messages[1:] %}
    {%- endif %}
    {%- for message in turns %}

    """ + alternation + """
      {%- if message.role == 'user' %}
      {%- set content = (system if loop.first else '') + message.content %}
      {{- bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
      {%- else %}{{ ' ' + message.content.strip() + ' ' + eos_token }}{% endif %}
      {%- endfor %}
      """

  private static let zephyr = """
    {% for message in messages %}
    {%- if message.role not in ['system', 'user', 'assistant'] %}
    {{- raise_exception('only the roles system, user and assistant have a place') }}
    {%- endif %}
    {{ '<|' + message.role + '|>\\n' + message.content + eos_token + '\\n' }}
    {%- endfor %}
    {%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}
    """
}

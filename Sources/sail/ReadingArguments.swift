import ArgumentParser
import Coordinator

/// How a command reads its data.
struct ReadingArguments: ParsableArguments {
  /// What the keys of the lines mean.
  struct Format: ExpressibleByArgument {
    /// nil goes by the keys of the first line.
    var form: DataForm?

    static let allValueStrings = ["auto"] + DataForm.allCases.map(\.rawValue)

    init(form: DataForm?) { self.form = form }

    init?(argument: String) {
      guard Self.allValueStrings.contains(argument) else { return nil }
      form = DataForm(rawValue: argument)
    }

    var defaultValueDescription: String { form?.rawValue ?? "auto" }
  }

  /// How prompts and conversations become text.
  struct Template: ExpressibleByArgument {
    var template: RunConfiguration.Template

    static let allValueStrings = RunConfiguration.Template.names

    init(template: RunConfiguration.Template) { self.template = template }

    init?(argument: String) {
      guard let template = RunConfiguration.Template(name: argument) else { return nil }
      self.template = template
    }

    var defaultValueDescription: String { template.name }
  }

  @Option(help: "What the keys of the data mean; auto goes by those of the first line.")
  var format = Format(form: nil)
  @Option(help: "How prompts and conversations become text (data.template).")
  var template = Template(template: .auto)

  /// The file with what is to be known to read it.
  func options(_ path: String) -> DataOptions {
    DataOptions(path: path, form: format.form, template: template.template)
  }
}

extension RunConfiguration.Overlong: ExpressibleByArgument {}

import Foundation
import JSONText
import Testing

extension EndToEndTests {
  @Suite struct PlanTests {
    private static let stated = ["--prompt-tokens", "125", "--response-tokens", "135"]

    private static func published(_ name: String) -> String {
      fixture("../published/\(name)/config.json")
    }

    private static func writeRunFile(
      _ folder: WorkFolder, config: String, method: String = "dpo"
    ) throws {
      try folder.write(
        "run.yaml",
        """
        model: {config: \(config), tokenizer: \(fixture("gqa-tied")), seed: 1}
        method: \(method)
        data: {train: \(fixture("pairs.jsonl"))}
        batch: {pairs: 4, groups: 4}
        steps: 1
        output: out
        """)
    }

    /// What a plan of a published shape says, and how many bytes of a parameter it has on one node.
    @Test(arguments: [
      ("Qwen1.5-0.5B", 463_987_712.0), ("Phi-3-mini-4k-instruct", 3_821_079_552),
      ("Meta-Llama-3-8B-Instruct", 8_030_261_248),
    ])
    func publishedShapes(_ name: String, parameters: Double) throws {
      try withWorkFolder { folder in
        try Self.writeRunFile(folder, config: Self.published(name))
        let launch = Launch(environment: ["XDG_CACHE_HOME": folder.path], folder: folder.path)
        let arguments =
          ["plan", "--config", "run.yaml", "--ranks", "2", "--memory", "24GB"] + Self.stated
        let text = try sailDone(arguments, launch).output
        for part in ["gradient", "optimizer, adamw", "policy backward", "run `sail doctor` first"] {
          #expect(text.contains(part), "\(part): \(text)")
        }
        #expect(text.contains("does not fit a node of 24.0 GB") == (parameters > 1e9))
        let full = try JSON(
          parsing: Array(try sailDone(arguments + ["--json"], launch).output.utf8))
        let exact = try full.list("memory").filter { $0["exact"]?.boolean == true }
          .reduce(0) { try $0 + $1.value("node_bytes") }
        #expect(exact == 28 * parameters)
        #expect(try full.value("step_seconds") > 0)
        let adapter = try JSON(
          parsing: Array(
            try sailDone(arguments + ["--json", "--set", "adapter.rank=64"], launch).output.utf8))
        #expect(try adapter.value("node_bytes") < 0.5 * full.value("node_bytes"))
        #expect(!folder.exists("out"))
      }
    }

    /// Lengths come from the data's first rows.
    @Test func theDataSaysLengths() throws {
      try withWorkFolder { folder in
        try Self.writeRunFile(folder, config: Self.published("Qwen1.5-0.5B"))
        let job = try sailDone(
          ["plan", "--config", "run.yaml", "--ranks", "1"],
          Launch(environment: ["XDG_CACHE_HOME": folder.path], folder: folder.path))
        #expect(job.output.contains("of the first 8 rows of"), "\(job.output)")
      }
    }

    @Test(
      arguments: [
        (["--ranks", "8"], 2, "set batch.groups ≥ ranks"),
        (["--ranks", "0"], 64, "--ranks must be from 1"),
        (["--ranks", "2", "--nodes", "3"], 64, "--nodes must be from 1 to 2"),
        (["--ranks", "1", "--memory", "much"], 64, "--memory wants a size"),
        (["--ranks", "1", "--prompt-tokens", "5"], 64, "give both"),
        (["--ranks", "1", "--ceilings", "run.yaml"], 3, "run.yaml"),
        (["--ranks", "1", "--ceilings", "nowhere.json"], 3, "nowhere.json: there is no such file"),
        (["--ranks", "1", "--set", "data.train=nowhere.jsonl"], 3, "state --prompt-tokens"),
        (["--ranks", "1", "--set", "model.config=nowhere.json"], 3, "nowhere.json"),
        (["--ranks", "1", "--set", "batch.pears=1"], 2, "batch.pears"),
        (["--ranks", "1", "--set", "threads=2147483647"], 2, "threads must be at most 65536"),
      ] as [([String], Int32, String)])
    func badInputIsRefused(_ arguments: [String], code: Int32, part: String) throws {
      try withWorkFolder { folder in
        try Self.writeRunFile(folder, config: Self.published("Qwen1.5-0.5B"))
        let job = try sail(
          ["plan", "--config", "run.yaml"] + arguments,
          Launch(environment: ["XDG_CACHE_HOME": folder.path], folder: folder.path))
        #expect(job.code == code, "\(job.errors)")
        #expect(job.errors.contains(part), "\(job.errors)")
        #expect(job.output.isEmpty)
      }
    }

    /// 4000 layers of the 8B shape are 3.5 TB of weights alone: training says so at once.
    @Test(arguments: [nil, 2])
    func aRunThatCannotFitIsRefusedBeforeItAllocates(ranks: Int?) throws {
      try withWorkFolder { folder in
        let members = try fileJSON(Self.published("Meta-Llama-3-8B-Instruct")).members ?? []
        let changed = members.map {
          JSON.Member(key: $0.key, value: $0.key == "num_hidden_layers" ? 4000 : $0.value)
        }
        try folder.write("config.json", JSON.object(changed).text)
        try Self.writeRunFile(folder, config: "config.json")
        let job = try sail(
          ["train", "--config", "run.yaml"], Launch(ranks: ranks, folder: folder.path))
        #expect(job.code == 2, "\(job.errors)")
        #expect(job.complaints.count == 1)
        for part in ["the run needs about", "GB on a node", "combine them", "sail plan"] {
          #expect(job.complaints.first?.contains(part) == true, "\(part): \(job.errors)")
        }
      }
    }
  }
}

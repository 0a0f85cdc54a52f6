// swift-tools-version: 6.1
// Modules, from the bottom to the top; docs/architecture.md says what each one is for.
import PackageDescription

let strict: [SwiftSetting] = [.swiftLanguageMode(.v6)]

/// A library module of the emulator or of the host agent.
func module(_ name: String, _ dependencies: [Target.Dependency] = [], path: String? = nil) -> Target {
    .target(name: name, dependencies: dependencies, path: path, swiftSettings: strict)
}

/// The unit tests of one module; `exclude` are the folders with files that tests read.
func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(name: name + "Tests", dependencies: [.init(stringLiteral: name)] + dependencies, exclude: exclude, swiftSettings: strict)
}

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let histogram = Target.Dependency.product(name: "Histogram", package: "hdrhistogram-swift")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")
/// For products in C alone: an embedded program has no Swift runtime, so the linker adds none.
let withoutSwift: LinkerSetting = .unsafeFlags(["-enable-experimental-feature", "Embedded"])

let package = Package(
    name: "outrigger",
    products: [
        .executable(name: "outrigger", targets: ["outrigger"]),
        .executable(name: "outrigger-agent", targets: ["outrigger-agent"]),
        .executable(name: "outrigger-bench", targets: ["outrigger-bench"]),
        .library(name: "outrigger-trap", type: .dynamic, targets: ["RegisterTrap"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", exact: "0.2.0"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
    ],
    targets: [
        // Foundations: nothing below them.
        .systemLibrary(name: "CLinux"),
        module("Scratch", ["CLinux"]),
        module("Simulation"),
        module("Registers", ["Simulation"]),
        module("RegisterMaps", ["Registers"]),

        // The hart and the wires between the blocks.
        module("RISCV", ["Registers", "Simulation"]),
        module("Interconnect", ["Registers", "Simulation"]),

        // Hardware models.
        module("Peripherals", ["Registers", "RegisterMaps", "Simulation", "Interconnect", "CLinux"]),
        module("PCIExpress", ["Registers", "Simulation", "Interconnect"]),
        module("Virtio", ["Registers", "RegisterMaps", "Simulation", "Interconnect", "CLinux"]),
        module("Tracing", ["Registers", "Simulation", histogram]),

        // What a firmware image says about itself.
        .systemLibrary(name: "CDwarf", pkgConfig: "libdw", providers: [.apt(["libdw-dev"])]),
        module("FirmwareInfo", ["RISCV", "CDwarf"]),

        // One device out of all of them.
        .target(name: "CClientMemory"),
        module("OffloadDevice", [
            "CClientMemory", "Registers", "RegisterMaps", "Simulation", "RISCV", "Interconnect", "Peripherals", "PCIExpress", "Virtio",
            "Tracing", yams,
        ]),

        // People's view of a running machine.
        module("Debugging", ["OffloadDevice", "FirmwareInfo", "RISCV", "Registers", "Simulation", "Tracing"]),

        // How figures are shown: live views, tables, JSON, Prometheus's text. It knows nothing of devices.
        module("Presentation", [argumentParser]),

        // The host's view.
        .systemLibrary(name: "CFUSE3", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
        .target(name: "CFUSESession", dependencies: ["CFUSE3"]),
        module("HostFilesystem", [
            "CFUSESession", "CClientMemory", "Debugging", "FirmwareInfo", "OffloadDevice", "Peripherals", "PCIExpress", "Virtio",
            "Interconnect", "Presentation", "Tracing", "Registers", logging,
        ]),

        // Another host's view: guests of a virtual machine monitor.
        module("VhostUser", ["OffloadDevice", "Peripherals", "Virtio", "CLinux"]),

        // The host agent: file paths only, no emulator module.
        .systemLibrary(name: "CHostRegisters"),
        module("HostAgent", ["AdminProtocol", "CHostRegisters", "Presentation", histogram]),

        // Programs.
        .target(name: "CNamespace"),
        // Preloaded into other programs by `outrigger exec`.
        .target(
            name: "RegisterTrap", cSettings: [.unsafeFlags(["-fvisibility=hidden"])],
            linkerSettings: [.linkedLibrary("Zydis"), withoutSwift]),
        .executableTarget(
            name: "outrigger",
            dependencies: [
                "HostFilesystem", "VhostUser", "OffloadDevice", "Debugging", "FirmwareInfo", "Presentation", "Tracing", "RISCV",
                "Registers", "Scratch", "CNamespace", argumentParser, logging,
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "outrigger-agent", dependencies: ["HostAgent", "AdminProtocol", "PolicyEngine", "Presentation", argumentParser],
            swiftSettings: strict),
        .executableTarget(
            name: "outrigger-bench",
            dependencies: [
                "RISCV", "OffloadDevice", "Debugging", "Virtio", "VhostUser", "Tracing", "Registers", "Scratch", "Simulation",
                argumentParser,
            ],
            swiftSettings: strict),

        // What firmware and host agent say to each other; no emulator code in it.
        module("AdminProtocol", path: "firmware/AdminProtocol"),

        // The firmware's own modules, built for this machine so that they can be unit-tested here.
        module("Hardware", path: "firmware/Hardware"),
        module("PolicyEngine", ["AdminProtocol"], path: "firmware/PolicyEngine"),
        module("OffloadManager", ["AdminProtocol", "Hardware", "PolicyEngine"], path: "firmware/OffloadManager"),

        // Experiments run the firmware's own code.
        module("RecordedTrace", path: "tools/experiments/trace"),
        .executableTarget(
            name: "demand-forecast", dependencies: ["OffloadManager", "PolicyEngine", "RecordedTrace"], path: "tools/experiments/e1",
            swiftSettings: strict),
        .executableTarget(
            name: "channel-sharing",
            dependencies: [
                "AdminProtocol", "Interconnect", "OffloadManager", "Peripherals", "PolicyEngine", "RecordedTrace", "RegisterMaps",
                "Registers", "Simulation",
            ],
            path: "tools/experiments/e7", swiftSettings: strict),

        // A loaded disk and a host agent on a device in lockstep: for tests of moving components, and for the experiment about it.
        module(
            "ComponentLoad", ["AdminProtocol", "HostAgent", "OffloadDevice", "RegisterMaps", "Scratch", "Simulation"],
            path: "Tests/ComponentLoad"),
        .executableTarget(
            name: "admin-fuzz", dependencies: ["AdminProtocol", "ComponentLoad"], path: "tools/experiments/admin-fuzz",
            swiftSettings: strict),
        .executableTarget(
            name: "component-placement", dependencies: ["ComponentLoad"], path: "tools/experiments/e9", swiftSettings: strict),
        .executableTarget(
            name: "partition-commits", dependencies: ["ComponentLoad", histogram], path: "tools/experiments/commits", swiftSettings: strict),
        .executableTarget(
            name: "component-moves", dependencies: ["AdminProtocol", "ComponentLoad", "Simulation", histogram],
            path: "tools/experiments/e11", swiftSettings: strict),

        // Makes the scripts of tools/regblock-check.
        .executableTarget(
            name: "regblock-reference", dependencies: ["Registers", "Scratch", "Simulation"], path: "Tests/RegblockReference",
            swiftSettings: strict),

        tests("Registers", ["RegisterMaps", "Simulation", "Hardware"]),
        tests("Simulation", []),
        tests("RISCV", ["Registers", "Simulation", "Scratch"], exclude: ["Fixtures"]),
        tests("Interconnect", ["Registers", "Simulation"]),
        tests("Peripherals", ["Registers", "RegisterMaps", "Simulation", "Interconnect", "Scratch"]),
        tests("PCIExpress", ["Registers", "RegisterMaps", "Simulation", "Interconnect", "Scratch"], exclude: ["Golden"]),
        tests("Virtio", ["Registers", "RegisterMaps", "Simulation", "Interconnect", "Scratch"]),
        tests("Tracing", ["Registers", "Simulation", "Scratch"], exclude: ["Golden"]),
        tests("FirmwareInfo", ["RISCV", "Simulation"]),
        tests(
            "OffloadDevice",
            [
                "Registers", "Simulation", "PCIExpress", "Virtio", "Tracing", "RISCV", "Interconnect", "AdminProtocol", "ComponentLoad",
                "PolicyEngine", "Scratch",
            ],
            exclude: ["Golden"]),
        tests("Debugging", ["FirmwareInfo", "RISCV", "OffloadDevice", "Simulation", "Tracing", "Scratch"]),
        tests("HostFilesystem", ["OffloadDevice", "Peripherals", "Scratch"]),
        // A tree without a device, for the tests and the benchmark of the file layer, which need a server in a process of its own.
        .executableTarget(
            name: "filesystem-server", dependencies: ["HostFilesystem", "Peripherals"], path: "Tests/FilesystemServer",
            swiftSettings: strict),
        // Makes every form of access to a mapped register, for the tests of the trap library.
        .executableTarget(name: "trap-check", path: "Tests/TrapCheck", linkerSettings: [withoutSwift]),
        tests("VhostUser", ["OffloadDevice", "Peripherals", "Virtio", "Scratch"]),
        tests("Presentation", []),
        tests("HostAgent", ["AdminProtocol", "Presentation", "Scratch"]),
        tests("OffloadManager", ["AdminProtocol", "Hardware", "PolicyEngine", "Simulation"]),
        tests("PolicyEngine", ["AdminProtocol", "Simulation"]),
        tests("AdminProtocol", ["Simulation"]),
    ]
)

// tools/fuzz builds one program more, which needs libFuzzer.
if Context.environment["OUTRIGGER_FUZZ"] != nil {
    package.targets += [
        .systemLibrary(name: "CFuzzer", path: "Tests/Fuzz/CFuzzer"),
        .executableTarget(
            name: "fuzz", dependencies: ["CFuzzer", "Debugging", "OffloadDevice", "Registers", "Scratch", "Simulation", "Tracing"],
            path: "Tests/Fuzz/Program", swiftSettings: strict),
    ]
}

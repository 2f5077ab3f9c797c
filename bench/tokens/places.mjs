// Where the material of these scripts is: below build/, never committed.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const work = join(dirname(fileURLToPath(import.meta.url)), "../../build/bench/tokens");
export const modules = join(work, "npm/node_modules");

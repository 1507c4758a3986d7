/** A program that calls by the names of services, as it would with the DNS of a platform. */
const response = await fetch('http://inventory.mesh/items/42')
console.log(await response.text())

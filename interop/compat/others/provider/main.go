// Command provider is a Terraform provider on terraform-plugin-framework. Nothing in it
// mentions Plugwire: the module's go.mod replaces go-plugin.
package main

import (
	"context"
	"log"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	resourceschema "github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

func main() {
	err := providerserver.Serve(context.Background(), func() provider.Provider { return &greetings{} },
		providerserver.ServeOpts{Address: "registry.terraform.io/plugwire/greetings"})
	if err != nil {
		log.Fatal(err)
	}
}

// greetings is a provider with one resource.
type greetings struct{}

func (*greetings) Metadata(_ context.Context, _ provider.MetadataRequest, response *provider.MetadataResponse) {
	response.TypeName = "greetings"
}

func (*greetings) Schema(_ context.Context, _ provider.SchemaRequest, response *provider.SchemaResponse) {
	response.Schema = schema.Schema{Attributes: map[string]schema.Attribute{"greeting": schema.StringAttribute{Required: true}}}
}

func (*greetings) Configure(ctx context.Context, request provider.ConfigureRequest, response *provider.ConfigureResponse) {
	var greeting types.String
	response.Diagnostics.Append(request.Config.GetAttribute(ctx, path.Root("greeting"), &greeting)...)
	response.ResourceData = greeting.ValueString()
}

func (*greetings) DataSources(context.Context) []func() datasource.DataSource { return nil }

func (*greetings) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{func() resource.Resource { return &card{} }}
}

// card is a resource: a name, and what the provider makes of it.
type card struct{ greeting string }

func (*card) Metadata(_ context.Context, _ resource.MetadataRequest, response *resource.MetadataResponse) {
	response.TypeName = "greetings_card"
}

func (*card) Schema(_ context.Context, _ resource.SchemaRequest, response *resource.SchemaResponse) {
	response.Schema = resourceschema.Schema{Attributes: map[string]resourceschema.Attribute{
		"name": resourceschema.StringAttribute{Required: true},
		"text": resourceschema.StringAttribute{Computed: true},
	}}
}

func (c *card) Configure(_ context.Context, request resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	c.greeting, _ = request.ProviderData.(string)
}

// cardModel is the state of a card.
type cardModel struct {
	Name types.String `tfsdk:"name"`
	Text types.String `tfsdk:"text"`
}

func (c *card) Create(ctx context.Context, request resource.CreateRequest, response *resource.CreateResponse) {
	var model cardModel
	response.Diagnostics.Append(request.Plan.Get(ctx, &model)...)
	if model.Name.ValueString() == "nobody" {
		panic("there is nobody to greet")
	}
	model.Text = types.StringValue(c.greeting + ", " + model.Name.ValueString() + "!")
	response.Diagnostics.Append(response.State.Set(ctx, &model)...)
}

func (*card) Read(context.Context, resource.ReadRequest, *resource.ReadResponse) {}

func (*card) Update(context.Context, resource.UpdateRequest, *resource.UpdateResponse) {}

func (*card) Delete(context.Context, resource.DeleteRequest, *resource.DeleteResponse) {}
